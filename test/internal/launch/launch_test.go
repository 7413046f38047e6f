//go:build linux

package launch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const patience = 30 * time.Second

func shell(t *testing.T, script string) *Process {
	t.Helper()
	p := NewProcess(Spec{Name: "the shell", Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"WORD=hello"}, LogFile: filepath.Join(t.TempDir(), "log")})
	t.Cleanup(p.Kill)
	return p
}

// says waits until the process has printed a line.
func says(t *testing.T, p *Process, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := Await(ctx, 10*time.Millisecond, func(context.Context) error {
		if got, err := os.ReadFile(p.LogFile); err != nil || string(got) != want {
			return fmt.Errorf("the log says %q, %w", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("wait for %q: %v", want, err)
	}
}

func TestProcessIsEndedAndStartedAgain(t *testing.T) {
	p := shell(t, `trap "exit 0" TERM; echo $WORD; while :; do sleep 0.01; done`)
	if p.PID() != 0 || p.Ended() != nil {
		t.Errorf("before Start: pid %d, Ended %v, want 0 and nil", p.PID(), p.Ended())
	}
	if err := p.Resume(); !errors.Is(err, errNotRunning) {
		t.Errorf("Resume before Start = %v, want %v", err, errNotRunning)
	}
	if err := errors.Join(p.Start(), p.Start()); err != nil || p.PID() == 0 {
		t.Fatalf("Start = %v, pid %d", err, p.PID())
	}
	says(t, p, "hello\n")
	if err := errors.Join(p.Pause(), p.Terminate(t.Context())); err != nil || p.PID() != 0 || p.Ended() != nil {
		t.Errorf("Terminate of a paused process = %v, pid %d, Ended %v, want nil, 0 and nil", err, p.PID(), p.Ended())
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	says(t, p, "hello\nhello\n")
	p.Kill()
	if p.PID() != 0 || p.Ended() != nil {
		t.Errorf("after Kill: pid %d, Ended %v, want 0 and nil", p.PID(), p.Ended())
	}
}

func TestTerminateKillsWhatDoesNotEnd(t *testing.T) {
	p := shell(t, `trap "" TERM; echo $WORD; while :; do sleep 0.01; done`)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	says(t, p, "hello\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Terminate(ctx); !errors.Is(err, context.DeadlineExceeded) || p.PID() != 0 {
		t.Errorf("Terminate = %v, pid %d, want the end of the context and no process", err, p.PID())
	}
}

func TestAwaitSeesTheEndOfAProcess(t *testing.T) {
	p := shell(t, `echo no luck; exit 3`)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	never := func(context.Context) error { return errors.New("not ready") }
	if err := Await(ctx, 10*time.Millisecond, never, p); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("Await of a process that ends = %v, want its exit status and what it said", err)
	}
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	if err := Await(short, time.Millisecond, never); err == nil || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("Await without an end = %v, want what was missing", err)
	}
}

func TestPortsAreFreeAndGivenOnce(t *testing.T) {
	ports, seen := NewPorts(), map[string]bool{}
	for range 5 {
		address, err := ports.Take()
		if err != nil || seen[address] {
			t.Fatalf("Take = %s, %v, want another than %v", address, err, seen)
		}
		seen[address] = true
	}
	first, err := ports.TakeRow(3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if address := Loopback(first + i).String(); seen[address] {
			t.Errorf("TakeRow gave %s, which was taken", address)
		}
	}
	// A port in the middle of the next row that is in use moves the row behind it.
	listener, err := net.Listen("tcp", Loopback(first+4).String())
	if err != nil {
		t.Skip(err)
	}
	defer listener.Close() //nolint:errcheck // a test
	if row, err := ports.TakeRow(3); err != nil || row <= first+4 {
		t.Errorf("TakeRow(3) past a port in use = %d, %v, want more than %d", row, err, first+4)
	}
	if err := Listening(t.Context(), listener.Addr().String()); err != nil {
		t.Errorf("Listening = %v, want nil", err)
	}
}

// TestRigsDoNotMeet: what one rig was given, another is not, also before anybody listens there.
func TestRigsDoNotMeet(t *testing.T) {
	given := map[string]bool{}
	for range 5 {
		ports := NewPorts()
		for range 20 {
			address, err := ports.Take()
			if err != nil || given[address] {
				t.Fatalf("Take = %s, %v, want a port that no other rig has", address, err)
			}
			given[address] = true
		}
	}
}
