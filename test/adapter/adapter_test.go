package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAdapter: an adapter between an API server that knows pods and pods that tell metrics: it tells the sum over the labels of each pod
// that runs, and leaves out those that end, have not begun, or do not answer.
func TestAdapter(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.Header.Get("Authorization"), "Bearer of-the-account"; got != want {
			t.Errorf("Authorization = %q, want %q", got, want)
		}
		if got, want := r.URL.String(), "/api/v1/namespaces/chat/pods?labelSelector=app%3Dgateway%2Ctier+in+%28a%29"; got != want {
			t.Errorf("asked for %s, want %s", got, want)
		}
		_, _ = io.WriteString(w, `{"items": [
			{"metadata": {"name": "one"}, "status": {"podIP": "10.0.0.1", "phase": "Running"}},
			{"metadata": {"name": "two"}, "status": {"podIP": "10.0.0.2", "phase": "Running"}},
			{"metadata": {"name": "silent"}, "status": {"podIP": "10.0.0.3", "phase": "Running"}},
			{"metadata": {"name": "ends", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"podIP": "10.0.0.4", "phase": "Running"}},
			{"metadata": {"name": "begins"}, "status": {"phase": "Pending"}}]}`)
	}))
	defer api.Close()
	metrics := map[string]string{
		"10.0.0.1": "# HELP m_connections Open.\nm_connections 7\nm_connections_total 900\n",
		"10.0.0.2": "m_connections{transport=\"polling\"} 2\nm_connections{transport=\"websocket\"} 40\n",
	}
	kubernetes := &client{base: api.URL, http: api.Client(), token: func() (string, error) { return "of-the-account", nil }}
	a := &adapter{log: slog.New(slog.DiscardHandler), metric: "m_connections", pods: kubernetes.pods, value: func(_ context.Context, address string) (float64, error) {
		text, ok := metrics[address]
		if !ok {
			return 0, fmt.Errorf("%s does not answer", address)
		}
		return sum(strings.NewReader(text), "m_connections")
	}}
	server := httptest.NewServer(a.handler())
	defer server.Close()
	type item struct {
		DescribedObject struct{ Kind, Name string }
		Value           string
	}
	ask := func(path string) (status int, items []item) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		var list struct{ Items []item }
		if response.StatusCode == http.StatusOK {
			if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
				t.Fatal(err)
			}
		}
		return response.StatusCode, list.Items
	}
	const all = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/chat/pods/%s/m_connections?labelSelector=app%%3Dgateway%%2Ctier+in+%%28a%%29"
	_, items := ask(fmt.Sprintf(all, "*"))
	if got, want := fmt.Sprint(items), "[{{Pod one} 7} {{Pod two} 42}]"; got != want {
		t.Errorf("all pods = %s, want %s", got, want)
	}
	if _, items := ask(fmt.Sprintf(all, "two")); len(items) != 1 || items[0].Value != "42" {
		t.Errorf("one pod = %v, want 42 of it", items)
	}
	if status, _ := ask("/apis/custom.metrics.k8s.io/v1beta2"); status != http.StatusOK {
		t.Errorf("discovery = %d, want 200", status)
	}
	if status, _ := ask("/apis/custom.metrics.k8s.io/v1beta2/namespaces/chat/pods/*/other"); status != http.StatusNotFound {
		t.Errorf("another metric = %d, want 404", status)
	}
	api.Close()
	if status, _ := ask(fmt.Sprintf(all, "*")); status != http.StatusServiceUnavailable {
		t.Errorf("without an API server = %d, want 503", status)
	}
}
