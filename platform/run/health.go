package run

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/starling-chat/starling/platform/settings"
)

const healthTimeout = 3 * time.Second

// healthcheck asks the process that runs with the same settings whether it is ready, for container images without a shell
// or an HTTP client.
func healthcheck(cfg any) int {
	for _, attr := range settings.LogAttrs(cfg) {
		if attr.Key != "admin_listen" && attr.Key != "admin" || attr.Value.String() == "" {
			continue
		}
		if err := askReady(attr.Value.String()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return exitError
		}
		return exitOK
	}
	fmt.Fprintln(os.Stderr, "there is no admin address to ask")
	return exitError
}

func askReady(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("admin address: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1" // it listens everywhere, or at a name of this machine
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout) //nolint:forbidigo // the root of the process
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("ask for readiness: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask for readiness: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // nothing more is read
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", res.Status)
	}
	return nil
}
