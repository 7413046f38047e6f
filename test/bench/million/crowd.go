//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/starling-chat/starling/test/bench/internal/swarm"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// crowdCommand as the only argument makes this program a crowd.
const crowdCommand = "crowd"

// about is the first line that a crowd reads: who it is.
type about struct {
	Number   int            // of the crowd
	Of       int            // crowds
	Address  netip.AddrPort // of its gateway
	Secret   string         // of tokens
	Run      string         // makes users and rooms of this run distinct
	Pending  int            // handshakes at once
	RoomSize int            // 0: no rooms
	Most     int            // connections that it may be told to have
}

// order is what a crowd is told, a line each.
type order struct {
	Grow  int  `json:"grow,omitempty"`  // by so many connections
	Storm bool `json:"storm,omitempty"` // cut all off, and come back
}

// status is what a crowd tells, a line each.
type status struct {
	Open    int64  // now
	Joined  int64  // of them in their room
	Refused int64  // tries that the gateway turned away, so far
	Lost    int64  // connections that ended by themselves, so far
	Storms  int64  // orders to come back that it has begun
	Problem string // the last one
}

const (
	tellEvery  = 200 * time.Millisecond
	sourcesOf  = 64 // addresses 127.x.y.z that the connections of a crowd come from
	retryLeast = 500 * time.Millisecond
	retrySpan  = time.Second
	tokenLife  = 6 * time.Hour
)

// crowd is the connections to one gateway.
type crowd struct {
	// Fixed at birth.
	about about
	swarm *swarm.Swarm
	conns []*swarm.Conn // owned by orders

	open, joined, refused, lost, storms atomic.Int64
	problem                             atomic.Pointer[string]

	in []bool // owned by the loop: who is in their room
}

// sources are the addresses that a crowd comes from.
func sources(number int) (all []netip.Addr) {
	for i := range sourcesOf {
		n := number*sourcesOf + i
		all = append(all, netip.AddrFrom4([4]byte{127, byte(1 + n/(250*250)%250), byte(1 + n/250%250), byte(1 + n%250)})) //nolint:gosec // below 251
	}
	return all
}

// runCrowd does what it is told until there are no more orders.
func runCrowd(in io.Reader, out io.Writer) error {
	orders := json.NewDecoder(in)
	c := &crowd{}
	if err := orders.Decode(&c.about); err != nil {
		return fmt.Errorf("read who this is: %w", err)
	}
	c.in = make([]bool, c.about.Most)
	var err error
	if c.swarm, err = swarm.New(swarm.Config{
		Addresses: []netip.AddrPort{c.about.Address}, Loops: 1, Pending: c.about.Pending, Sources: sources(c.about.Number),
	}); err != nil {
		return err
	}
	defer c.swarm.Close()
	ended := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() { _ = c.tell(out, ended) }) // what cannot be told, nobody waits for
	defer telling.Wait()
	defer close(ended)
	for {
		var o order
		switch err := orders.Decode(&o); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read an order: %w", err)
		case o.Storm:
			c.storm()
		case o.Grow > 0:
			if err := c.grow(min(o.Grow, c.about.Most-len(c.conns))); err != nil {
				return err
			}
		}
	}
}

// tell tells how far it is.
func (c *crowd) tell(out io.Writer, ended <-chan struct{}) error {
	lines := json.NewEncoder(out)
	every := time.NewTicker(tellEvery)
	defer every.Stop()
	for {
		s := status{Open: c.open.Load(), Joined: c.joined.Load(), Refused: c.refused.Load(), Lost: c.lost.Load(), Storms: c.storms.Load()}
		if p := c.problem.Load(); p != nil {
			s.Problem = *p
		}
		if err := lines.Encode(s); err != nil {
			return fmt.Errorf("tell how far it is: %w", err)
		}
		select {
		case <-every.C:
		case <-ended:
			return nil
		}
	}
}

// user is the number of a user over all crowds: those with numbers in a row are at different gateways.
func (c *crowd) user(index int) int { return index*c.about.Of + c.about.Number }

func (c *crowd) grow(n int) error {
	now := time.Now()
	for range n {
		i := len(c.conns)
		id := strconv.Itoa(c.user(i))
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"sub": c.about.Run + "-" + id, "name": "User " + id, "iat": now.Unix(), "exp": now.Add(tokenLife).Unix(),
		}).SignedString([]byte(c.about.Secret))
		if err != nil {
			return fmt.Errorf("sign a token: %w", err)
		}
		c.conns = append(c.conns, c.swarm.Dial(i, token, c))
	}
	return nil
}

// storm cuts all connections off and has them come back at once.
func (c *crowd) storm() {
	for i, conn := range c.conns {
		conn.Do(func() {
			if conn.Open() {
				c.gone(i)
			}
			conn.Reset()
			c.swarm.Redial(conn)
		})
	}
	c.swarm.Sync()
	c.storms.Add(1)
}

// gone counts the end of an open connection.
func (c *crowd) gone(i int) {
	c.open.Add(-1)
	if c.in[i] {
		c.in[i] = false
		c.joined.Add(-1)
	}
}

var _ swarm.Handler = (*crowd)(nil)

// Opened implements swarm.Handler.
func (c *crowd) Opened(conn *swarm.Conn, _ time.Duration) {
	c.open.Add(1)
	c.join(conn)
}

func (c *crowd) join(conn *swarm.Conn) {
	if c.about.RoomSize == 0 {
		return
	}
	b := sioclient.BeginEvent(conn.Scratch(), 0, "room:join")
	b = append(append(b, '"'), c.about.Run...)
	b = strconv.AppendInt(append(b, '-'), int64(c.user(conn.Index)/c.about.RoomSize), 10)
	conn.Send(append(b, `"]`...))
}

// Ack implements swarm.Handler: the answer to room:join. A join that was refused, as of a system that has too much to do, is tried again.
func (c *crowd) Ack(conn *swarm.Conn, p sioclient.Packet) {
	const ok = `[{"ok":true`
	if len(p.Body) > len(ok) && string(p.Body[:len(ok)]) == ok {
		if !c.in[conn.Index] {
			c.in[conn.Index] = true
			c.joined.Add(1)
		}
		return
	}
	c.note("room:join was answered " + string(p.Body[:min(len(p.Body), 200)]))
	c.later(conn, func() {
		if conn.Open() {
			c.join(conn)
		}
	})
}

// Event implements swarm.Handler.
func (c *crowd) Event(*swarm.Conn, sioclient.Packet) {}

// Closed implements swarm.Handler: who was turned away, or lost the connection, comes back, as official clients do.
func (c *crowd) Closed(conn *swarm.Conn, opened bool, err error) {
	if opened {
		c.gone(conn.Index)
		c.lost.Add(1)
	} else {
		c.refused.Add(1)
	}
	c.note(err.Error())
	c.later(conn, func() { c.swarm.Redial(conn) })
}

func (c *crowd) note(problem string) { c.problem.Store(&problem) }

// later does something on a conn's loop in a while.
func (c *crowd) later(conn *swarm.Conn, f func()) {
	wait := retryLeast + rand.N(retrySpan) //nolint:gosec // spreading, not a secret
	time.AfterFunc(wait, func() { conn.Do(f) })
}
