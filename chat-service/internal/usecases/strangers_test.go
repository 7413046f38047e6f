package usecases

import (
	"context"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/chat-service/internal/typing"
)

// noting is a Store that notes the questions that it answers.
type noting struct {
	*memory
	asked []string
}

func (n *noting) View(ctx context.Context, room chat.RoomID, user chat.UserID, page Page) (View, error) {
	n.asked = append(n.asked, "view")
	return n.memory.View(ctx, room, user, page)
}

func (n *noting) Standing(ctx context.Context, m chat.Membership) (access.Standing, chat.Name, error) {
	n.asked = append(n.asked, "standing")
	return n.memory.Standing(ctx, m)
}

func (n *noting) Room(ctx context.Context, m chat.Membership, granted access.Rights) (chat.RoomInfo, access.Standing, error) {
	n.asked = append(n.asked, "room")
	return n.memory.Room(ctx, m, granted)
}

func (n *noting) Readers(_ context.Context, m chat.Membership, _ ReadersPage) (r Readers, err error) {
	n.asked = append(n.asked, "readers")
	n.mu.Lock()
	defer n.mu.Unlock()
	r.Standing = n.standing(m)
	return r, nil
}

// TestStrangersCostTheSame: what a stranger asks of a private room takes the same questions to the database as what it asks of none, and gets
// the same answer; with a token that opens neither as well.
func TestStrangersCostTheSame(t *testing.T) {
	m := newMemory(rulestest.World{"hidden": {"ann"}})
	r := m.state.Rooms["hidden"]
	r.Kind = access.Private
	m.state.Rooms["hidden"] = r
	store := &noting{memory: m}
	w, _ := newTestWriter(t, m, &published{}, patient)
	cfg := Config{Marks: MarksConfig{BatchMax: 3, Queue: 4, Timeout: 4 * time.Second}}
	s := NewService(store, w, &published{}, typing.New((&published{}).Ephemeral, quiet{}), &m.evicted, cfg, slog.New(slog.DiscardHandler))

	wait := func(f func(done func(error)) error) error {
		answered := make(chan error, 1)
		if err := f(func(err error) { answered <- err }); err != nil {
			return err
		}
		return <-answered
	}
	ctx := t.Context()
	for name, ask := range map[string]func(c Caller, room chat.RoomID) error{
		"join":    func(c Caller, room chat.RoomID) error { _, err := s.Join(ctx, c, JoinRequest{Room: room}); return err },
		"look":    func(c Caller, room chat.RoomID) error { _, _, err := s.Room(ctx, c, room); return err },
		"history": func(c Caller, room chat.RoomID) error { _, err := s.History(ctx, c, room, Page{}); return err },
		"readers": func(c Caller, room chat.RoomID) error { _, err := s.Readers(ctx, c, room, ReadersPage{}); return err },
		"members": func(c Caller, room chat.RoomID) error { _, err := s.Members(ctx, c, room); return err },
		"typing":  func(c Caller, room chat.RoomID) error { return s.StartTyping(ctx, c, room) },
		"stopped": func(c Caller, room chat.RoomID) error { return s.StopTyping(ctx, c, room) },
		"say":     func(c Caller, room chat.RoomID) error { return s.RoomMessage(ctx, c, room, chat.Emit{}) },
		"add": func(c Caller, room chat.RoomID) error {
			return wait(func(done func(error)) error {
				return s.AddMembers(ctx, c, room, []chat.UserID{"bob"}, "", func(_ ActResult, err error) { done(err) })
			})
		},
		"remove": func(c Caller, room chat.RoomID) error {
			return wait(func(done func(error)) error { return s.RemoveMember(ctx, c, room, "ann", "", done) })
		},
		"role": func(c Caller, room chat.RoomID) error {
			return wait(func(done func(error)) error { return s.SetRole(ctx, c, room, "ann", access.RoleMember, done) })
		},
		"ban": func(c Caller, room chat.RoomID) error {
			return wait(func(done func(error)) error {
				return s.Restrict(ctx, c, rules.Restrict{Origin: rules.Origin{Room: room}, Who: "ann", Until: access.Forever()}, done)
			})
		},
		"bans": func(c Caller, room chat.RoomID) error {
			_, _, err := s.Restricted(ctx, c, room, RestrictedPage{})
			return err
		},
		"invite": func(c Caller, room chat.RoomID) error {
			_, _, err := s.Invite(ctx, c, InviteRequest{Room: room})
			return err
		},
		"invites": func(c Caller, room chat.RoomID) error {
			_, _, err := s.Invites(ctx, c, room, chat.InviteHash{}, 0)
			return err
		},
		"revoke": func(c Caller, room chat.RoomID) error {
			return wait(func(done func(error)) error { return s.RevokeInvite(ctx, c, room, chat.InviteHash{}, done) })
		},
		"audit": func(c Caller, room chat.RoomID) error {
			_, _, err := s.Audit(ctx, c, AuditPage{Room: room})
			return err
		},
	} {
		for _, c := range []Caller{{User: "eve"}, {User: "eve", Grants: access.Grants{{Match: "other-*", Can: access.MayRead}}}, {User: "eve", Key: "crm"}} {
			store.asked = nil
			there := ask(c, "hidden")
			costs := store.asked
			store.asked = nil
			nowhere := ask(c, "none")
			if diff := cmp.Diff(store.asked, costs); diff != "" || len(costs) == 0 {
				t.Errorf("%s: questions about no room (-), and about a private one (+):\n%s", name, diff)
			}
			if !reflect.DeepEqual(there, nowhere) || !reflect.DeepEqual(there, access.NoRoom()) {
				t.Errorf("%s: %v of a private room, %v of none", name, there, nowhere)
			}
		}
	}
}
