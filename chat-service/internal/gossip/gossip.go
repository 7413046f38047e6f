package gossip

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/typing"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// Gossip is typing.Gossip on NATS. A note is its fields joined by NUL, which no id and no name contains:
//
//	replica NUL "1" or "0" NUL room NUL socket NUL user NUL name NUL "told" or ""
//
// Replicas of an older release end with the user, tell the room of everything, and do not understand the longer form: then a notice
// expires.
type Gossip struct {
	nc      *nats.Conn
	replica string
}

var _ typing.Gossip = (*Gossip)(nil)

// noteFields is how many fields a note has, oldNoteFields that of an older release.
const noteFields, oldNoteFields = 7, 5

// New returns the gossip of this replica, which gets a random name.
func New(nc *nats.Conn) *Gossip { return &Gossip{nc: nc, replica: uuid.NewString()} }

// Tell implements typing.Gossip.
func (g *Gossip) Tell(n typing.Note) {
	on := "0"
	if n.On {
		on = "1"
	}
	told := ""
	if n.Told {
		told = "told"
	}
	note := strings.Join([]string{g.replica, on, string(n.Room), n.Socket, string(n.User), n.Name, told}, "\x00")
	_ = g.nc.Publish(subject.Typing, []byte(note)) // may be lost
}

// Run feeds tracker with the notes of other replicas, and with the sockets that gateways tell are gone, until ctx ends.
func (g *Gossip) Run(ctx context.Context, tracker *typing.Tracker) error {
	notes, err := g.nc.Subscribe(subject.Typing, func(msg *nats.Msg) {
		f := strings.Split(string(msg.Data), "\x00")
		if len(f) == oldNoteFields {
			f = append(f, "", "told")
		}
		if len(f) != noteFields || f[0] == g.replica {
			return
		}
		tracker.Heard(typing.Note{
			On: f[1] == "1", Room: chat.RoomID(f[2]), Socket: f[3], User: chat.UserID(f[4]), Name: f[5], Told: f[6] == "told",
		})
	})
	if err != nil {
		return fmt.Errorf("subscribe typing: %w", err)
	}
	defer func() { _ = notes.Unsubscribe() }()
	deltas, err := g.nc.Subscribe(subject.PresenceDelta, func(msg *nats.Msg) {
		for _, socket := range presenceDelta(msg.Data) {
			tracker.Disconnected(socket)
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe presence: %w", err)
	}
	defer func() { _ = deltas.Unsubscribe() }()
	<-ctx.Done()
	return nil
}

// presenceDelta gives the sockets that went.
func presenceDelta(data []byte) []string {
	var delta eventv1.PresenceDelta
	if proto.Unmarshal(data, &delta) != nil {
		return nil // of a newer version: the typing ends by itself
	}
	return delta.GetDown()
}
