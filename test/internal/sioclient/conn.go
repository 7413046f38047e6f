package sioclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// connectTimeout bounds the wait for the reply to CONNECT, a replay before it included. The official client would wait as long
// as pings come.
const connectTimeout = 20 * time.Second

// Handler is told what comes over a Conn, by the goroutine that calls Step. An error ends the connection.
type Handler interface {
	// Connected gives the reply to CONNECT and the events that came before it: a recovered session's. The official client, too,
	// gives them to the application after the reply.
	Connected(w Welcome, early []Message) error
	// Refused gives the refusal of a CONNECT. Step fails with its text then.
	Refused(r Refusal)
	Event(m Message) error
	// Ack gives the JSON array of an ack. Its bytes are good during the call.
	Ack(id int64, body []byte) error
}

// Conn is one connection: an Engine.IO session on a link, with the namespace "/" in it. All of it belongs to one goroutine.
type Conn struct {
	link     Link
	handler  Handler
	patience time.Duration // pingInterval + pingTimeout

	deadline  time.Time // the next packet must come before
	connected bool
	early     []Message // came before the reply to CONNECT
}

// NewConn reads the open packet from a fresh link.
func NewConn(link Link, h Handler) (*Conn, error) {
	b, err := link.Read(time.Now().Add(dialTimeout))
	if err != nil {
		return nil, fmt.Errorf("await the open packet: %w", err)
	}
	if len(b) == 0 || b[0] != engineOpen {
		return nil, fmt.Errorf("not an open packet: %.60q", b)
	}
	var hs Handshake
	if err := json.Unmarshal(b[1:], &hs); err != nil {
		return nil, fmt.Errorf("open packet: %w", err)
	}
	c := &Conn{link: link, handler: h, patience: time.Duration(hs.PingInterval+hs.PingTimeout) * time.Millisecond}
	c.deadline = time.Now().Add(min(c.patience, connectTimeout))
	return c, nil
}

// Connect asks to be let into the namespace. The answer comes by Step.
func (c *Conn) Connect(a Auth) error { return c.link.Write(AppendConnect(nil, a)) }

// Early is how many events have come for which no reply to CONNECT came.
func (c *Conn) Early() int { return len(c.early) }

// Step reads one packet and does with it as the official client does. It is called until it fails.
func (c *Conn) Step() error {
	b, err := c.link.Read(c.deadline)
	if err != nil {
		return err
	}
	p, err := Parse(b)
	if err != nil {
		return err
	}
	switch p.Kind {
	case Ping:
		if c.connected { // before, the wait for the reply to CONNECT is bounded
			c.deadline = time.Now().Add(c.patience)
		}
		return c.link.Write([]byte(Pong))
	case Connect:
		return c.welcomed(p.Body)
	case ConnectError:
		var r Refusal
		_ = json.Unmarshal(p.Body, &r) // whatever it is, it is a refusal
		c.handler.Refused(r)
		return fmt.Errorf("refused: %s", p.Body)
	case Disconnect:
		return errors.New("disconnected by the server")
	case Event:
		return c.event(p.Body)
	case Ack:
		return c.handler.Ack(p.ID, p.Body)
	case Foreign:
		return fmt.Errorf("packet of another namespace: %.40q", p.Body)
	case Binary:
		return fmt.Errorf("packet with attachments: %.40q", p.Body)
	default: // Close over WebSocket, and noop: the official client does nothing
		return nil
	}
}

func (c *Conn) welcomed(body []byte) error {
	var w Welcome
	if err := json.Unmarshal(body, &w); err != nil {
		return fmt.Errorf("reply to CONNECT: %w", err)
	}
	if c.connected {
		return errors.New("second reply to CONNECT")
	}
	c.deadline = time.Now().Add(c.patience)
	c.connected = true
	early := c.early
	c.early = nil
	return c.handler.Connected(w, early)
}

func (c *Conn) event(body []byte) error {
	m, err := DecodeEvent(body)
	if err != nil {
		return err
	}
	if !c.connected {
		c.early = append(c.early, m)
		return nil
	}
	return c.handler.Event(m)
}
