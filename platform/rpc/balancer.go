package rpc

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// balancerName names the balancing of calls in serviceConfig: in turn over all addresses, but for those that are not well. Either
// calls wait there and nothing has come for a while, as of a process that is stopped or a link that swallows everything: the
// connection looks healthy until keepalives notice, which is seconds later. Or calls are refused as UNAVAILABLE one after the
// other, as by a replica that has lost its database. Now and then one call tries it.
//
//	          silence, or refusals in a row                 a pause passed
//	in turn ────────────────────────────────▶ left out ──────────────────────▶ one call goes there
//	   ▲                                         ▲                               │    │
//	   │                                         └───────────── no better ───────┘    │
//	   └──────────────────────────────── an answer comes ─────────────────────────────┘
//
// Where no address is well they are used in turn.
const balancerName = "starling_round_robin"

const (
	silence    = time.Second
	retryPause = 3 * time.Second // after silence: the call that tries may have to wait
	refusals   = 3
	trialPause = time.Second // after refusals, which cost no time
)

// registerBalancer because gRPC's list of balancers is global.
var registerBalancer = sync.OnceFunc(func() { //nolint:gochecknoglobals // see above
	balancer.Register(builder{})
})

// builder makes the balancer of one client, which has pickers of its own.
type builder struct{}

// Name implements balancer.Builder.
func (builder) Name() string { return balancerName }

// Build implements balancer.Builder.
func (builder) Build(conn balancer.ClientConn, options balancer.BuildOptions) balancer.Balancer {
	return base.NewBalancerBuilder(balancerName, &pickers{}, base.Config{}).Build(conn, options)
}

// pickers makes a client's pickers, one after the other: whenever a replica comes or goes. gRPC calls it from one goroutine at
// a time.
type pickers struct {
	known map[balancer.SubConn]*replica // of the last picker
}

// Build implements base.PickerBuilder. What is known of replicas that stay stays known, so that a replica that comes and goes
// does not send calls to another one that hangs.
func (b *pickers) Build(info base.PickerBuildInfo) balancer.Picker {
	known := b.known
	b.known = make(map[balancer.SubConn]*replica, len(info.ReadySCs))
	if len(info.ReadySCs) == 0 {
		return base.NewErrPicker(balancer.ErrNoSubConnAvailable)
	}
	p := &picker{}
	for conn := range info.ReadySCs { // in random order, so that clients do not begin with the same
		r := known[conn]
		if r == nil {
			r = &replica{conn: conn}
		}
		b.known[conn] = r
		p.replicas = append(p.replicas, r)
	}
	return p
}

type picker struct {
	replicas []*replica
	next     atomic.Uint64
}

// Pick implements balancer.Picker.
func (p *picker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	now := time.Now()
	first, n := p.next.Add(1), uint64(len(p.replicas))
	chosen := p.replicas[first%n]
	for i := range n {
		if r := p.replicas[(first+i)%n]; r.mayTake(now) {
			chosen = r
			break
		}
	}
	chosen.begin(now)
	return balancer.PickResult{SubConn: chosen.conn, Done: chosen.done}, nil
}

// replica is one address.
type replica struct {
	conn balancer.SubConn

	mu      sync.Mutex    // guards what follows
	waiting int           // calls
	quiet   time.Time     // since when nothing came while calls wait
	refused int           // in a row
	pause   time.Duration // between trials while it is left out; 0: it is not
	retryAt time.Time     // while it is left out: when a call may try it
}

func (r *replica) mayTake(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listen(now)
	return r.pause == 0 || !now.Before(r.retryAt)
}

// listen leaves the replica out when it has been silent for too long; r.mu is held.
func (r *replica) listen(now time.Time) {
	if r.pause == 0 && r.waiting > 0 && now.Sub(r.quiet) > silence {
		r.pause, r.retryAt = retryPause, now.Add(retryPause)
	}
}

func (r *replica) begin(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == 0 {
		r.quiet = now
	}
	r.waiting++
	r.retryAt = now.Add(r.pause)
}

func (r *replica) done(info balancer.DoneInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !info.BytesReceived {
		r.listen(now) // the last call that waits may be given up before another one is made
	}
	r.waiting--
	unavailable := status.Code(info.Err) == codes.Unavailable
	switch {
	case info.BytesReceived && !unavailable:
		r.pause, r.refused, r.quiet = 0, 0, now
	case info.BytesReceived:
		r.quiet = now
		if r.refused++; r.refused >= refusals {
			r.pause, r.retryAt = trialPause, now.Add(trialPause)
		}
	}
}
