// Command adapter answers Kubernetes's custom metrics API with the connections of gateways, so that `make k8s-test` can try the autoscaler
// on a cluster that has neither prometheus-adapter nor KEDA. It asks each pod when it is asked itself, and is for that test only: it knows
// one metric, keeps nothing, and answers everybody who reaches it (adapter.yaml says who does).
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// account is where a pod finds what it may show the API server.
const account = "/var/run/secrets/kubernetes.io/serviceaccount"

const timeout = 5 * time.Second

func main() {
	listen := flag.String("listen", ":6443", "address for the API server, host:port")
	metric := flag.String("metric", "starling_gateway_connections", "name of the metric")
	port := flag.Int("port", 8080, "port on which pods tell their metrics")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(*listen, *metric, *port, log); err != nil {
		log.Error("the adapter has ended", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(listen, metric string, port int, log *slog.Logger) error {
	api, err := cluster()
	if err != nil {
		return fmt.Errorf("the cluster's API: %w", err)
	}
	certificate, err := selfSigned(time.Now())
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	a := &adapter{log: log, metric: metric, pods: api.pods, value: func(ctx context.Context, address string) (float64, error) {
		return scrape(ctx, fmt.Sprintf("http://%s/metrics", net.JoinHostPort(address, fmt.Sprint(port))), metric)
	}}
	server := &http.Server{
		Addr: listen, Handler: a.handler(), ReadHeaderTimeout: timeout,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}},
	}
	return server.ListenAndServeTLS("", "")
}

// cluster is the API server, as a pod reaches it.
func cluster() (*client, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("this is no pod: KUBERNETES_SERVICE_HOST is not set")
	}
	authority, err := os.ReadFile(filepath.Join(account, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, errors.New("ca.crt holds no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}}
	return &client{
		base: "https://" + net.JoinHostPort(host, port),
		http: &http.Client{Transport: transport, Timeout: timeout},
		// Read anew each time, since it is replaced while the pod lives.
		token: func() (string, error) {
			token, err := os.ReadFile(filepath.Join(account, "token"))
			return strings.TrimSpace(string(token)), err
		},
	}, nil
}
