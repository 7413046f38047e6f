package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/platform/settings"
)

// TestIdleOutlastsBalancers: a balancer's connection is never closed just when it is used again. The longest of the common ones keeps
// its own for 600 s.
func TestIdleOutlastsBalancers(t *testing.T) {
	var cfg Config
	if err := settings.Parse("gateway", "", &cfg, nil); err != nil {
		t.Fatal(err)
	}
	if got := cfg.Limits.IdleTimeout; got <= 600*time.Second {
		t.Errorf("HTTP_IDLE_TIMEOUT = %v by default, want more than 600s", got)
	}
}

// TestNetworkSettings: networks are read as people write them, and a wrong one is named with its setting.
func TestNetworkSettings(t *testing.T) {
	for _, setting := range []string{"trusted-proxies", "limit-exempt-networks"} {
		for value, ok := range map[string]bool{
			"": true, "10.0.0.0/8": true, "10.0.0.0/8, fd00::/8": true, "10.0.0.0/8,": true, "192.0.2.7": true, "2001:db8::1": true,
			"10.0.0.0/33": false, "office": false, "10.0.0.0/8,x": false,
		} {
			var cfg Config
			err := settings.Parse("gateway", "", &cfg, []string{"--" + setting + "=" + value})
			if err == nil {
				err = cfg.Validate()
			}
			name := strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
			if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%s=%q: %v, want it taken: %v, or an error that names it", name, value, err, ok)
			}
		}
	}
}

// TestAddressShare: no address may take more than a quarter of the descriptors for clients.
func TestAddressShare(t *testing.T) {
	quarter := descriptorRoom() / 4
	for set, want := range map[int]int{0: quarter, 1: 1, quarter: quarter, quarter + 1: quarter} {
		if got := perAddress(set); got != want {
			t.Errorf("perAddress(%d) = %d, want %d", set, got, want)
		}
	}
}
