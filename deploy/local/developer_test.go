package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestDemoAccountsOfThePage: the page shows no password that is a secret, and no stranger restarts a gateway.
func TestDemoAccountsOfThePage(t *testing.T) {
	made := func(data, listen string) *system {
		t.Helper()
		s := &system{cfg: Config{Listen: listen, Data: data, Gateways: 1}}
		if err := s.readSecrets(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.writeSecrets(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	local := made(t.TempDir(), "127.0.0.1:3000")
	if got := local.demoAccounts(); len(got) != len(demoUsers()) || got[0].Password != demoUsers()[0].Password {
		t.Errorf("on this machine the page offers %v, want the demo accounts", got)
	}
	local.serving = &serving{}
	if got := local.demoAccounts(); len(got) != 0 || local.developer() != nil {
		t.Errorf("what serves others behind a proxy offers %v, and a developer drawer: %v", got, local.developer() != nil)
	}
	data := t.TempDir()
	for _, listen := range []string{"0.0.0.0:3000", "192.0.2.1:3000", "127.0.0.1:3000"} { // the last one keeps the passwords of the first
		s := made(data, listen)
		if got := s.demoAccounts(); len(got) != 0 {
			t.Errorf("on %s the page offers %v, want nobody", listen, got)
		}
		if got := s.developer() != nil; got != (listen == "127.0.0.1:3000") {
			t.Errorf("on %s the developer drawer is served: %v", listen, got)
		}
	}
}

// TestRestarts: a gateway is ended once by each request that names it, and no other one.
func TestRestarts(t *testing.T) {
	s := &system{cfg: Config{Listen: "127.0.0.1:3000"}}
	ended := 0
	s.restarts.register("local-1", func() { ended++ })
	ask := func(body string) int {
		w := httptest.NewRecorder()
		s.developer().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/restart-gateway", strings.NewReader(body)))
		return w.Code
	}
	for _, c := range []struct {
		body        string
		code, ended int
	}{{`{"gateway":"other"}`, 404, 0}, {`x`, 400, 0}, {`{"gateway":"local-1"}`, 204, 1}, {`{"gateway":"local-1"}`, 404, 1}} {
		if code := ask(c.body); code != c.code || ended != c.ended {
			t.Errorf("%s = %d with %d ended, want %d with %d", c.body, code, ended, c.code, c.ended)
		}
	}
}
