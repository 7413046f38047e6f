package rpc

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"google.golang.org/grpc/resolver"
)

// names looks up the addresses of "dns:///host:port" for gRPC. gRPC's own resolver does it every 30 s at most, and keeps the addresses
// of replicas that are gone until then: who replaced all of them had nobody to ask. This one looks a name up as soon as a connection
// has ended or failed, and again and again for a while, as names change a moment later than replicas do.
//
//	a connection fails    looked up at once, after 100 ms, 200 ms, … 1 s, 1 s, … for 10 s after the last failure
//	nothing fails         looked up every 30 s, so that calls reach replicas that were added
//	the look-up fails     the addresses stay; again as after a failure
type names struct {
	lookUp func(ctx context.Context, host string) ([]string, error) // nil: the system's
}

const (
	scheme          = "dns"
	lookUpTimeout   = 2 * time.Second
	firstLookUp     = 100 * time.Millisecond // after the look-up that follows a failure; it doubles
	lastLookUp      = time.Second
	failureInterest = 10 * time.Second
	refreshInterval = 30 * time.Second
)

// Scheme implements resolver.Builder.
func (*names) Scheme() string { return scheme }

// Build implements resolver.Builder.
func (n *names) Build(target resolver.Target, conn resolver.ClientConn, options resolver.BuildOptions) (resolver.Resolver, error) {
	host, port, err := net.SplitHostPort(target.Endpoint())
	if target.URL.Host != "" || err != nil || net.ParseIP(host) != nil { // a name server of its own, no port, or nothing to look up
		return resolver.Get(scheme).Build(target, conn, options)
	}
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // gRPC gives none; Close ends it
	w := &nameWatch{
		lookUp: n.lookUp, host: host, port: port, conn: conn, cancel: cancel,
		failed: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if w.lookUp == nil {
		w.lookUp = net.DefaultResolver.LookupHost
	}
	go w.run(ctx)
	return w, nil
}

// nameWatch looks one name up for one client.
type nameWatch struct {
	lookUp     func(ctx context.Context, host string) ([]string, error)
	host, port string
	conn       resolver.ClientConn
	cancel     context.CancelFunc
	failed     chan struct{} // a connection has failed
	done       chan struct{} // closed when run has ended
}

// ResolveNow implements resolver.Resolver: gRPC calls it for each connection that ended or could not be made.
func (w *nameWatch) ResolveNow(resolver.ResolveNowOptions) {
	select {
	case w.failed <- struct{}{}:
	default:
	}
}

// Close implements resolver.Resolver.
func (w *nameWatch) Close() {
	w.cancel()
	<-w.done
}

func (w *nameWatch) run(ctx context.Context) {
	defer close(w.done)
	var known []string
	var interest time.Time // until when it is looked up often
	var pause time.Duration
	for ctx.Err() == nil {
		found, err := w.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.conn.ReportError(err) // which counts where no address is known
		case !slices.Equal(found, known):
			known = found
			_ = w.conn.UpdateState(state(found)) // an error would be of the service config, which is not the name's
		}
		if err == nil && time.Now().After(interest) {
			pause = 0
			if w.wait(ctx, refreshInterval, w.failed) {
				interest = time.Now().Add(failureInterest)
			}
			continue
		}
		pause = min(max(2*pause, firstLookUp), lastLookUp)
		w.wait(ctx, pause*3/4+rand.N(pause/2), nil) //nolint:gosec // no secret
		select {
		case <-w.failed:
			interest = time.Now().Add(failureInterest)
		default:
		}
	}
}

// wait waits for d, or until a connection has failed; then it reports true.
func (*nameWatch) wait(ctx context.Context, d time.Duration, failed <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-failed:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (w *nameWatch) ask(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	hosts, err := w.lookUp(ctx, w.host)
	if err == nil && len(hosts) == 0 {
		err = errors.New("the name has no address")
	}
	addresses := make([]string, len(hosts))
	for i, host := range hosts {
		addresses[i] = net.JoinHostPort(host, w.port)
	}
	slices.Sort(addresses) // name servers change the order
	return addresses, err
}

func state(addresses []string) resolver.State {
	var s resolver.State
	for _, address := range addresses {
		one := resolver.Address{Addr: address}
		s.Addresses = append(s.Addresses, one)
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{one}})
	}
	return s
}
