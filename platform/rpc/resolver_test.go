package rpc

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// addresses is a name server, and the gRPC client that is told of what it says.
type addresses struct {
	mu     sync.Mutex // guards what follows
	now    []string
	asked  []time.Duration // since start
	start  time.Time
	told   [][]string
	errors int
}

func (a *addresses) set(now ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = now
}

func (a *addresses) lookUp(context.Context, string) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, time.Since(a.start))
	if a.now == nil {
		return nil, errors.New("no such name")
	}
	return a.now, nil
}

func (a *addresses) UpdateState(s resolver.State) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for _, address := range s.Addresses {
		all = append(all, address.Addr)
	}
	a.told = append(a.told, all)
	return nil
}

func (a *addresses) ReportError(error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.errors++
}

func (*addresses) NewAddress([]resolver.Address)                        {}
func (*addresses) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }

func (a *addresses) questions() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

// TestNamesFollowReplicas: the addresses of a name are asked for at once when a connection fails, however soon after the last time, and
// again for a while; and seldom as long as nothing fails.
func TestNamesFollowReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &addresses{now: []string{"10.0.0.2", "10.0.0.1"}, start: time.Now()}
		target := resolver.Target{URL: url.URL{Scheme: "dns", Path: "/chat:7002"}}
		r, err := (&names{lookUp: a.lookUp}).Build(target, a, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		a.set("10.0.0.1", "10.0.0.2") // in another order
		r.ResolveNow(resolver.ResolveNowOptions{})
		synctest.Wait()
		if n := a.questions(); n != 2 {
			t.Errorf("a second after the start %d look-ups, want one more at once: a connection failed", n)
		}
		time.Sleep(time.Second)
		a.set("10.0.0.3") // the name changes a little later than the replicas
		time.Sleep(2 * lastLookUp)
		a.mu.Lock()
		told := [][]string{{"10.0.0.1:7002", "10.0.0.2:7002"}, {"10.0.0.3:7002"}}
		if diff := cmp.Diff(told, a.told); diff != "" {
			t.Errorf("gRPC was told (-want +got):\n%s", diff)
		}
		a.mu.Unlock()
		time.Sleep(failureInterest)
		before := a.questions()
		time.Sleep(10 * refreshInterval)
		if n := a.questions() - before; n < 9 || n > 11 {
			t.Errorf("%d look-ups in %v without a failure, want one each %v", n, 10*refreshInterval, refreshInterval)
		}
		a.set() // the name server is away
		time.Sleep(2 * refreshInterval)
		a.mu.Lock()
		if a.errors < 10 || len(a.told) != 2 {
			t.Errorf("gRPC was told of %d errors, and addresses %d times, want many and 2: what is known stays", a.errors, len(a.told))
		}
		a.mu.Unlock()
		r.Close()
	})
}

// TestAllReplicasAreReplaced: whoever replaces all replicas soon after a client has started, under other addresses, is found.
func TestAllReplicasAreReplaced(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	other, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Skipf("a second address of this machine is needed: %v", err)
	}
	a := &addresses{now: []string{"127.0.0.1"}}
	served := func(context.Context) error { return nil }
	_, stop := serve(t, ServerConfig{Listener: listener}, served)
	conn := dial(t, "chat.test:"+port, ClientConfig{lookUp: a.lookUp})
	if err := invoke(t, conn); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	_, _ = serve(t, ServerConfig{Listener: other}, served)
	a.set("127.0.0.2")
	// gRPC's own resolver would ask again 30 s after the first time.
	for deadline := time.Now().Add(25 * time.Second); ; {
		err := invoke(t, conn)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("calls after the replacement = %v, want the new replica", err)
		}
	}
}
