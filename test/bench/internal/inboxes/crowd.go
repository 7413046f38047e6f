//go:build linux

package inboxes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/starling-chat/starling/test/bench/internal/swarm"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// Command as the only argument makes a program a crowd: it is to call Serve.
const Command = "inbox-crowd"

// about is the first line that a crowd reads: who it is.
type about struct {
	Address netip.AddrPort // of its gateway
	Pending int            // handshakes at once
	Inbox   bool           // the connections ask for the inbox
}

// order is what a crowd is told.
type order struct {
	Dial []string `json:"dial,omitempty"` // tokens of the users of further connections
	Say  *say     `json:"say,omitempty"`
}

// say is one message.
type say struct {
	ID   int64  // of the ack
	Conn int    // by its number in the crowd
	Room string // of which the user is a member
}

// told is what a crowd tells: how far it is, and what has happened since it told the last time.
type told struct {
	Status
	Events []Event `json:"events,omitempty"`
}

// Status is how far crowds are.
type Status struct {
	Open    int64  // connections now
	States  int64  // connections that have got their inbox:state
	Rooms   int64  // in these
	Again   int64  // inbox:state that came again: something was missed
	Lost    int64  // connections that ended by themselves, or did not come about
	Problem string // the last one
}

// Kind is what an Event is.
type Kind uint8

// Kinds of events.
const (
	Sent     Kind = iota // a message is on its way: ID
	Acked                // it is stored: ID and Seq
	Refused              // it was answered with a fault: ID
	Activity             // a user was told how a room stands: Room and Seq
)

// Event is what has happened to a user.
type Event struct {
	Kind Kind
	User int           // in a crowd the connection's number, in Crowds the user's
	At   time.Duration // of the monotonic clock
	ID   int64         `json:",omitempty"`
	Room string        `json:",omitempty"`
	Seq  int64         `json:",omitempty"`
}

// tellEvery is how often a crowd tells.
const tellEvery = 100 * time.Millisecond

// now is the machine's monotonic clock.
func now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0 // cannot be
	}
	return time.Duration(t.Nano())
}

// crowd is the connections to one gateway.
type crowd struct {
	swarm *swarm.Swarm  // fixed at birth
	conns []*swarm.Conn // owned by Serve
	has   []bool        // owned by the loop: who has got inbox:state

	mu   sync.Mutex // guards what follows
	told told
}

// Serve is a crowd: it does what it is told until there are no more orders.
func Serve(in io.Reader, out io.Writer) error {
	orders := json.NewDecoder(in)
	var a about
	if err := orders.Decode(&a); err != nil {
		return fmt.Errorf("read who this is: %w", err)
	}
	s, err := swarm.New(swarm.Config{Addresses: []netip.AddrPort{a.Address}, Loops: 1, Pending: a.Pending, Inbox: a.Inbox})
	if err != nil {
		return err
	}
	c := &crowd{swarm: s}
	defer s.Close()
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
		}
		for _, token := range o.Dial {
			c.conns = append(c.conns, s.Dial(len(c.conns), token, c))
		}
		if o.Say != nil && o.Say.Conn < len(c.conns) {
			conn := c.conns[o.Say.Conn]
			conn.Do(func() { c.say(conn, o.Say) })
		}
	}
}

// say sends one message.
func (c *crowd) say(conn *swarm.Conn, s *say) {
	b := sioclient.BeginEvent(conn.Scratch(), s.ID, "message:send")
	b = append(append(b, `{"roomId":"`...), s.Room...)
	b = append(b, `","content":"What is said in a room that nobody has joined shows in the inboxes of its members."}]`...)
	c.happened(Event{Kind: Sent, User: conn.Index, At: now(), ID: s.ID})
	conn.Send(b)
}

// tell tells how far it is, until it has ended.
func (c *crowd) tell(out io.Writer, ended <-chan struct{}) error {
	lines := json.NewEncoder(out)
	every := time.NewTicker(tellEvery)
	defer every.Stop()
	for {
		c.mu.Lock()
		t := c.told
		c.told.Events = nil
		c.mu.Unlock()
		if err := lines.Encode(t); err != nil {
			return fmt.Errorf("tell how far it is: %w", err)
		}
		select {
		case <-every.C:
		case <-ended:
			return nil
		}
	}
}

func (c *crowd) note(change func(*told)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.told)
}

func (c *crowd) happened(e Event) { c.note(func(t *told) { t.Events = append(t.Events, e) }) }

var _ swarm.Handler = (*crowd)(nil)

// Opened implements swarm.Handler.
func (c *crowd) Opened(*swarm.Conn, time.Duration) { c.note(func(t *told) { t.Open++ }) }

// Ack implements swarm.Handler: the answer to a message.
func (c *crowd) Ack(conn *swarm.Conn, p sioclient.Packet) {
	e := Event{Kind: Acked, User: conn.Index, At: now(), ID: p.ID}
	seq, ok := swarm.Int(p.Body, []byte(`"seq":`))
	if !ok || !bytes.HasPrefix(p.Body, []byte(`[{"ok":true`)) {
		e.Kind = Refused
		c.note(func(t *told) { t.Problem = "message:send was answered " + string(p.Body[:min(len(p.Body), 200)]) })
	}
	e.Seq = seq
	c.happened(e)
}

// Event implements swarm.Handler.
func (c *crowd) Event(conn *swarm.Conn, p sioclient.Packet) {
	switch string(p.Name()) {
	case "inbox:state":
		c.state(conn, int64(bytes.Count(p.Body, []byte(`"roomId":`))))
	case "room:activity":
		room, okRoom := text(p.Body, []byte(`"roomId":"`))
		seq, okSeq := swarm.Int(p.Body, []byte(`"seq":`))
		if okRoom && okSeq {
			c.happened(Event{Kind: Activity, User: conn.Index, At: now(), Room: room, Seq: seq})
		}
	}
}

// state counts an inbox:state.
func (c *crowd) state(conn *swarm.Conn, rooms int64) {
	for len(c.has) <= conn.Index {
		c.has = append(c.has, false)
	}
	again := c.has[conn.Index]
	c.has[conn.Index] = true
	c.note(func(t *told) {
		if again {
			t.Again++
			return
		}
		t.States++
		t.Rooms += rooms
	})
}

// text finds a text behind key, which ends with its quote.
func text(b, key []byte) (s string, ok bool) {
	_, after, ok := bytes.Cut(b, key)
	if !ok {
		return "", false
	}
	value, _, ok := bytes.Cut(after, []byte{'"'})
	return string(value), ok
}

// Closed implements swarm.Handler. Nobody comes back: a connection that is lost is a problem here.
func (c *crowd) Closed(_ *swarm.Conn, opened bool, err error) {
	c.note(func(t *told) {
		if opened {
			t.Open--
		}
		t.Lost++
		t.Problem = err.Error()
	})
}
