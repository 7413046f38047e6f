package conformance

import (
	"bytes"
	"slices"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/isotime"
)

// supportApp answers as the server that socket.io-client's tests run against. Sessions are recovered, except those that
// received no event: the tests expect a new id then, where a gateway recovers as well.
type supportApp struct {
	memory *memory
}

var _ session.App = (*supportApp)(nil)

func newSupportApp() *supportApp { return &supportApp{memory: newMemory()} }

// visitor is the state of one socket. The flags belong to the session's reader.
type visitor struct {
	record *record // what recovery needs
	shake  handshake

	abuff1, blob1, blob2 bool // came already
}

// Connect implements session.App.
func (a *supportApp) Connect(s *session.Session, namespace string, auth []byte) {
	shake := carried(s.Headers().Authorization, auth)
	switch namespace {
	case "/":
		if shake.Query["fail"] != "" {
			s.Refuse(namespace, "Auth failed (main namespace)", nil)
			return
		}
	case "/foo", "/timeout_socket", "/valid", "/asd", "/abc":
	case "/no":
		s.Refuse(namespace, "Auth failed (custom namespace)", nil)
		return
	default:
		s.Refuse(namespace, "Invalid namespace", nil)
		return
	}
	socket := a.accept(s, namespace, auth, shake)
	if socket != nil && namespace == "/abc" {
		a.emit(socket, "handshake", shake)
	}
}

// emit sends an event that can be recovered: it carries its offset as one more argument.
func (a *supportApp) emit(s *session.Socket, name string, args ...any) {
	a.emitBinary(s, nil, name, args...)
}

func (a *supportApp) emitBinary(s *session.Socket, attachments [][]byte, name string, args ...any) {
	v := s.State.(*visitor)
	offset := a.memory.nextOffset()
	e := missed{offset: offset, name: name, args: array(append(slices.Clone(args), offset)...), attachments: attachments}
	v.record.keep(e)
	emit(s, e.name, 0, e.args, e.attachments)
}

// BatchEnd implements session.App.
func (a *supportApp) BatchEnd(*session.Socket) {}

// Event implements session.App.
func (a *supportApp) Event(s *session.Socket, e session.Event) {
	c := call{app: a, socket: s, visitor: s.State.(*visitor), event: e}
	for arg := range rawjson.Split(e.Packet.AppendArgs(nil)) {
		c.args = append(c.args, arg)
	}
	switch s.Namespace {
	case "/":
		c.main()
	case "/foo":
		if e.Name == "getId" {
			c.ack(s.ID)
		}
	}
}

// Ack implements session.App: the only emit with an ack is "ack".
func (a *supportApp) Ack(s *session.Socket, _ int64, args []byte, _ [][]byte) {
	list := slices.Collect(rawjson.Split(args))
	if len(list) < 2 || string(list[0]) != "5" {
		return
	}
	if test, _ := rawjson.Field(list[1], "test"); string(test) == "true" {
		a.emit(s, "got it")
	}
}

// call is one event of a client.
type call struct {
	app     *supportApp
	socket  *session.Socket
	visitor *visitor
	event   session.Event
	args    [][]byte
}

func (c *call) emit(name string, args ...any) { c.app.emit(c.socket, name, args...) }

func (c *call) ack(args ...any) { acknowledge(c.socket, c.event.Packet, array(args...), nil) }

// arg gives the first argument, "null" where there is none.
func (c *call) arg() []byte {
	if len(c.args) > 0 {
		return c.args[0]
	}
	return []byte("null")
}

// main answers the events of the main namespace.
func (c *call) main() {
	switch c.event.Name {
	case "hi":
		c.emit("hi")
	case "echo":
		args := bytes.Join([][]byte{[]byte("["), c.arg(), []byte("]")}, nil)
		acknowledge(c.socket, c.event.Packet, args, c.event.Attachments)
	case "ack":
		emit(c.socket, "ack", 1, nil, nil)
	case "getAckDate":
		c.ack(now())
	case "getDate":
		c.emit("takeDate", now())
	case "getDateObj":
		c.emit("takeDateObj", map[string]string{"date": now()})
	case "getUtf8":
		for _, text := range []string{"てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"} {
			c.emit("takeUtf8", text)
		}
	case "false":
		c.emit("false", false)
	case "getHandshake":
		c.ack(c.visitor.shake)
	case "getId":
		c.ack(c.socket.ID)
	default:
		c.binary()
	}
}

// binary answers the events that are about attachments.
func (c *call) binary() {
	v := c.visitor
	switch c.event.Name {
	case "doge":
		c.app.emitBinary(c.socket, [][]byte{[]byte("asdfasdf")}, "doge", placeholder(0))
	case "getbin":
		c.app.emitBinary(c.socket, [][]byte{[]byte("asdfasdf")}, "takebin", placeholder(0))
	case "buffa":
		c.emitIf(isBinary(c.arg()), "buffack")
	case "jsonbuff":
		c.emitIf(c.mixed(), "jsonbuff-ack")
	case "abuff1":
		v.abuff1 = isBinary(c.arg())
	case "abuff2":
		c.emitIf(v.abuff1, "abuff2-ack")
	case "blob":
		c.emitIf(isBinary(c.arg()), "back")
	case "jsonblob":
		c.emitIf(c.mixed(), "jsonblob-ack")
	case "blob1":
		v.blob1 = isBinary(c.arg())
	case "blob2":
		v.blob2 = v.blob1 && string(c.arg()) == `"second"`
	case "blob3":
		c.emitIf(v.blob1 && v.blob2 && isBinary(c.arg()), "blob3-ack")
	}
}

func (c *call) emitIf(ok bool, name string) {
	if ok {
		c.emit(name)
	}
}

// mixed tells whether the argument is the tests' object of text and bytes.
func (c *call) mixed() bool {
	message, _ := rawjson.Field(c.arg(), "message")
	return field(c.arg(), "hello") == "lol" && field(c.arg(), "goodbye") == "gotcha" && isBinary(message)
}

// now is the time as JavaScript writes a Date in JSON.
func now() string { return isotime.Format(time.Now()) }
