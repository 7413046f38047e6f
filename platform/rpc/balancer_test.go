package rpc

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
)

// address is a connection that is only told apart.
type address struct{ balancer.SubConn }

func build(b *pickers, conns ...balancer.SubConn) balancer.Picker {
	ready := make(map[balancer.SubConn]base.SubConnInfo)
	for _, conn := range conns {
		ready[conn] = base.SubConnInfo{}
	}
	return b.Build(base.PickerBuildInfo{ReadySCs: ready})
}

func pick(t *testing.T, p balancer.Picker) balancer.PickResult {
	t.Helper()
	got, err := p.Pick(balancer.PickInfo{})
	if err != nil {
		t.Fatalf("Pick() = %v, want a connection", err)
	}
	return got
}

// picked counts how many of n calls that are answered at once go to conn.
func picked(t *testing.T, p balancer.Picker, conn balancer.SubConn, n int) (count int) {
	t.Helper()
	for range n {
		got := pick(t, p)
		got.Done(balancer.DoneInfo{BytesReceived: true})
		if got.SubConn == conn {
			count++
		}
	}
	return count
}

// TestSilenceSeenAtTheEnd: a replica that was silent while its only call waited is left out although nobody looked meanwhile, and
// one call tries it when the pause has passed.
func TestSilenceSeenAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := build(&pickers{}, &address{}, &address{})
		call := pick(t, p)
		silent := call.SubConn
		time.Sleep(silence + time.Millisecond)
		call.Done(balancer.DoneInfo{})
		if n := picked(t, p, silent, 10); n != 0 {
			t.Errorf("%d of 10 calls went to the silent replica, want 0", n)
		}
		time.Sleep(retryPause)
		trial := pick(t, p)
		if trial.SubConn != silent {
			trial = pick(t, p)
		}
		if trial.SubConn != silent {
			t.Fatal("no call tried the silent replica after the pause")
		}
		if n := picked(t, p, silent, 10); n != 0 {
			t.Errorf("%d of 10 calls went to the silent replica while one tries it, want 0", n)
		}
		trial.Done(balancer.DoneInfo{BytesReceived: true})
		if n := picked(t, p, silent, 10); n != 5 {
			t.Errorf("%d of 10 calls went to the replica that answers again, want 5", n)
		}
	})
}

// TestShortCallsSayNothing: calls that are given up before a silence leave their replica in use.
func TestShortCallsSayNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := &address{}
		p := build(&pickers{}, conn, &address{})
		for range 10 {
			call := pick(t, p)
			time.Sleep(silence / 2)
			call.Done(balancer.DoneInfo{})
		}
		if n := picked(t, p, conn, 10); n != 5 {
			t.Errorf("%d of 10 calls went to one of two replicas, want 5", n)
		}
	})
}

// TestKnownReplicas: a replica that comes and goes does not make the others' silence forgotten, only its own.
func TestKnownReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flaps, silent, well := &address{}, &address{}, &address{}
		b := &pickers{}
		call := pick(t, build(b, silent))
		time.Sleep(silence + time.Millisecond)
		call.Done(balancer.DoneInfo{})
		p := build(b, flaps, silent, well)
		if n := picked(t, p, silent, 30); n != 0 {
			t.Errorf("%d of 30 calls went to the silent replica after another one came, want 0", n)
		}
		p = build(b, silent, well)
		if n := picked(t, p, silent, 30); n != 0 {
			t.Errorf("%d of 30 calls went to the silent replica after another one went, want 0", n)
		}
		build(b, well)
		if n := picked(t, build(b, silent, well), silent, 30); n != 15 {
			t.Errorf("%d of 30 calls went to a replica that is connected anew, want 15", n)
		}
	})
}
