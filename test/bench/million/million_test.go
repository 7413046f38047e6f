//go:build linux

package main

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/benchtest"
	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/bench/internal/system"
)

// TestMain is a crowd where it is started as one: the tests start crowds as the program does.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == crowdCommand {
		main()
		return
	}
	os.Exit(m.Run())
}

// gather starts crowds for servers that are there, and gives what a run measures them with.
func gather(t *testing.T, args ...string) *million {
	t.Helper()
	o, err := parse(append([]string{"-settle", "0s", "-stalled", "20s"}, args...), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	var addresses []netip.AddrPort
	for range o.gateways() {
		server := httptest.NewServer(&benchtest.Server{})
		t.Cleanup(server.Close)
		addresses = append(addresses, netip.MustParseAddrPort(server.Listener.Addr().String()))
	}
	s := system.External("servers of the test", addresses, benchtest.Secret, os.Getpid(), "")
	cs, err := startCrowds(t.Context(), o, s, "test")
	t.Cleanup(cs.end)
	if err != nil {
		t.Fatal(err)
	}
	return &million{o: o, system: s, crowds: cs, result: &report.Result{}, say: t.Logf}
}

// TestEverybodyIsBack: few connections at few gateways go all the way that a million goes.
func TestEverybodyIsBack(t *testing.T) {
	t.Parallel()
	m := gather(t, "-connections", "70", "-per-gateway", "30", "-step", "20", "-room", "5", "-reserve", "0")
	if err := m.measure(t.Context()); err != nil || len(m.result.Problems) > 0 {
		t.Fatalf("measure = problems %q, error %v, want none", m.result.Problems, err)
	}
	got := make(map[string]float64)
	for _, f := range m.result.Figures {
		got[f.Name] = f.Value
	}
	for name, want := range map[string]float64{
		"connections wanted": 70, "connections reached": 70, "of them in a room": 70, "gateways": 3, "lost while filling": 0,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s = %v, %v, want %v", name, value, ok, want)
		}
	}
	if got["all are back in their rooms after"] <= 0 {
		t.Errorf("figures = %v, want a time until all are back in their rooms", got)
	}
	if now, err := m.crowds.total(); err != nil || now.Open != 70 || now.Joined != 70 || now.Storms != 1 {
		t.Errorf("total = %+v, %v, want 70 in their rooms after one storm", now, err)
	}
}

// TestGrowingStops: a run ends by itself at the reserve of memory, and says so.
func TestGrowingStops(t *testing.T) {
	t.Parallel()
	m := gather(t, "-connections", "10", "-per-gateway", "10", "-reserve", fmt.Sprint(1<<20), "-reconnect=false")
	if err := m.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(m.result.Problems, func(p string) bool {
		return strings.Contains(p, "0 connections of 10") && strings.Contains(p, "memory")
	}) {
		t.Errorf("problems = %q, want that the memory ended before", m.result.Problems)
	}
}

// TestCrowdThatEnds: a part of the load generator that is gone is an error, not a number that stands still.
func TestCrowdThatEnds(t *testing.T) {
	t.Parallel()
	m := gather(t, "-connections", "4", "-per-gateway", "2", "-reserve", "0", "-room", "0")
	victim := m.crowds.all[0]
	if err := victim.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-victim.done:
	case <-time.After(30 * time.Second):
		t.Fatal("a killed process goes on telling")
	}
	if err := m.measure(t.Context()); err == nil {
		t.Error("measure of crowds of which one is gone succeeds")
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"no connections":      {"-connections", "0"},
		"too many":            {"-connections", "5000000"},
		"too many gateways":   {"-connections", "1000", "-per-gateway", "1"},
		"a gateway too large": {"-per-gateway", "2000000"},
		"an argument":         {"idle"},
		"a room of less":      {"-room", "-1"},
		"no patience":         {"-stalled", "1ms"},
	} {
		if _, err := parse(args, func(string) string { return "" }); err == nil {
			t.Errorf("parse with %s succeeds", name)
		}
	}
	o, err := parse([]string{"-connections", "1001", "-per-gateway", "100"}, func(string) string { return "" })
	if err != nil || o.gateways() != 11 {
		t.Errorf("parse: %v, gateways = %d, want 11", err, o.gateways())
	}
}
