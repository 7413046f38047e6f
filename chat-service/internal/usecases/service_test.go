package usecases

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/chat-service/internal/typing"
	"github.com/starling-chat/starling/proto/fault"
)

// newTestService runs a Service on memory; stop drains it.
func newTestService(t *testing.T, m *memory, p *published, cfg Config) (s *Service, stop func()) {
	t.Helper()
	cfg.Marks = MarksConfig{BatchMax: 3, Queue: 4, Timeout: 4 * time.Second}
	w, _ := newTestWriter(t, m, p, patient)
	s = NewService(m, w, p, typing.New(p.Ephemeral, quiet{}), &m.evicted, cfg, slog.New(slog.DiscardHandler))
	return s, running(t, func(ctx context.Context) { _ = s.Run(ctx) })
}

func TestRoomsAutocreate(t *testing.T) {
	direct := chat.DirectID([]chat.UserID{"bob", "cid"})
	for _, test := range []struct {
		autocreate access.Kind
		room       chat.RoomID
		before     rulestest.World
		want       fault.Kind
		made       access.Kind
	}{
		{access.Public, "r", rulestest.World{"r": nil}, "", access.Public},
		{"", "r", rulestest.World{"r": nil}, "", access.Public},
		{"", "r", rulestest.World{}, fault.NotFound, ""},
		{access.Public, "r", rulestest.World{}, "", access.Public},
		{access.Private, "r", rulestest.World{}, "", access.Private},
		{access.Public, direct, rulestest.World{}, fault.NotFound, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(test.before)
			s, _ := newTestService(t, m, &published{}, Config{Autocreate: test.autocreate})
			view, err := s.Join(t.Context(), Caller{User: "ann", Name: chat.Name{Text: "Ann"}}, JoinRequest{Room: test.room})
			if fault.KindOf(err) != test.want || err == nil && (!view.Member || view.Role != access.RoleOwner) || view.Kind != test.made {
				t.Errorf("Join with autocreate %v in %v = %+v, %v, want %q and a room %q", test.autocreate, test.before, view, err, test.want, test.made)
			}
			if test.want != "" && len(m.tried()) > 0 {
				t.Error("a refused join reached the Writer")
			}
		})
	}
}

// everywhere is a Publisher that counts what goes to a whole namespace.
type everywhere struct {
	published
	events []string
}

func (e *everywhere) Broadcast(namespace string, emit chat.Emit, except string) error {
	e.events = append(e.events, namespace+" "+emit.Event+" not to "+except)
	return nil
}

// TestBroadcastRight: who may send chat:message is the operator's choice; announcements are the admins' in any case.
func TestBroadcastRight(t *testing.T) {
	user, admin := Caller{User: "ann", Socket: "s", Namespace: "/chat"}, Caller{User: "root", Admin: true, Socket: "r", Namespace: "/chat"}
	for _, test := range []struct {
		right  BroadcastRight
		caller Caller
		want   fault.Kind
	}{
		{"", user, ""},
		{BroadcastEveryone, user, ""},
		{BroadcastEveryone, admin, ""},
		{BroadcastAdmin, user, fault.Forbidden},
		{BroadcastAdmin, admin, ""},
		{BroadcastOff, user, fault.Forbidden},
		{BroadcastOff, admin, fault.Forbidden},
	} {
		p := &everywhere{}
		s := NewService(newMemory(rulestest.World{}), nil, p, typing.New(p.Ephemeral, quiet{}), nil, Config{Broadcast: test.right}, slog.New(slog.DiscardHandler))
		err := s.Broadcast(test.caller, chat.Emit{Event: "chat:message"})
		var want []string
		if test.want == "" {
			want = []string{"/chat chat:message not to " + test.caller.Socket}
		}
		if diff := cmp.Diff(want, p.events); fault.KindOf(err) != test.want || diff != "" {
			t.Errorf("Broadcast of %s with %q = %v, want %q; told (-want +got):\n%s", test.caller.User, test.right, err, test.want, diff)
		}
		if err := s.Announce(admin, chat.Emit{Event: "announcement"}); err != nil {
			t.Errorf("Announce with %q = %v, want nil", test.right, err)
		}
	}
}

func TestLeaveDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann"}})
		m.takes = time.Second
		s, _ := newTestService(t, m, &published{}, Config{})
		start := time.Now()
		var after time.Duration
		if err := s.Leave(Caller{User: "ann"}, "r", "", func(err error) {
			if after = time.Since(start); err != nil {
				t.Errorf("Leave: %v", err)
			}
		}); err != nil || time.Since(start) > 0 {
			t.Errorf("Leave = %v after %v, want nil at once", err, time.Since(start))
		}
		pass(5 * time.Second)
		if after != time.Second {
			t.Errorf("answered after %v, want 1s: with the commit", after)
		}
	})
}

// TestMarkReadInGroups: receipts that come during a transaction share the next, in order; those that do not fit are refused.
func TestMarkReadInGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(rulestest.World{"r": {"ann", "bob"}}), &published{}
		m.takes = time.Second
		s, stop := newTestService(t, m, p, Config{})
		var answers []string
		mark := func(user chat.UserID, seq uint64) error {
			return s.MarkRead(Caller{User: user}, Receipt{Membership: chat.Membership{Room: "r"}, Message: chat.NewMessageID(time.Now(), seq, 0)}, func(_ chat.Marker, err error) {
				answers = append(answers, string(user)+" "+string(fault.KindOf(err)))
			})
		}
		if err := mark("ann", 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it is being written
		for i, user := range []chat.UserID{"ann", "bob", "eve", "ann"} {
			if err := mark(user, uint64(i)+2); err != nil {
				t.Fatal(err)
			}
		}
		if err := mark("ann", 9); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("MarkRead into a full queue = %v, want unavailable", err)
		}
		stop()
		if diff := cmp.Diff([]string{"ann ", "ann ", "bob ", "eve forbidden", "ann "}, answers); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		var told []uint64
		for _, e := range p.facts {
			told = append(told, e.Fact.(chat.MessageRead).Seq)
		}
		if diff := cmp.Diff([]uint64{1, 2, 3, 5}, told); diff != "" || len(m.read) != 3 {
			t.Errorf("told (-want +got):\n%sin %d transactions, want 3", diff, len(m.read))
		}
		if err := mark("ann", 9); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("MarkRead after the end = %v, want unavailable", err)
		}
	})
}

func TestMarkReadFailures(t *testing.T) {
	poison := chat.NewMessageID(time.Now(), 13, 0)
	for _, test := range []struct {
		name  string
		fails error
		want  []fault.Kind
		tries int
	}{
		{"one of them is at fault", errors.New("does not digest"), []fault.Kind{"", "", fault.Internal}, 4},
		{"the Store is away", fault.New(fault.Unavailable, "away"), []fault.Kind{"", fault.Unavailable, fault.Unavailable}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(rulestest.World{"r": {"ann"}})
				m.takes = 900 * time.Millisecond // four of them end before the Timeout
				m.readErr = func(receipts []Receipt) error {
					for _, r := range receipts {
						if r.Message == poison {
							return test.fails
						}
					}
					return nil
				}
				s, stop := newTestService(t, m, &published{}, Config{})
				var kinds []fault.Kind
				for i, id := range []chat.MessageID{{}, {}, poison} {
					err := s.MarkRead(Caller{User: "ann"}, Receipt{Membership: chat.Membership{Room: "r"}, Message: id}, func(_ chat.Marker, err error) { kinds = append(kinds, fault.KindOf(err)) })
					if err != nil {
						t.Fatal(err)
					}
					if i == 0 {
						synctest.Wait()
					}
				}
				stop()
				if diff := cmp.Diff(test.want, kinds); diff != "" || len(m.read) != test.tries {
					t.Errorf("answers (-want +got):\n%sin %d tries, want %d", diff, len(m.read), test.tries)
				}
			})
		})
	}
}

func TestMarkReadWaitsOnlySoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann"}})
		m.takes = 1900 * time.Millisecond
		s, stop := newTestService(t, m, &published{}, Config{})
		var kinds []fault.Kind
		mark := func() {
			if err := s.MarkRead(Caller{User: "ann"}, Receipt{Membership: chat.Membership{Room: "r"}}, func(_ chat.Marker, err error) { kinds = append(kinds, fault.KindOf(err)) }); err != nil {
				t.Fatal(err)
			}
		}
		mark()
		synctest.Wait()
		for range 4 { // three fit into the second transaction; the last one's would end after 5.7 s
			mark()
		}
		stop()
		if diff := cmp.Diff([]fault.Kind{"", "", "", "", fault.Timeout}, kinds); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
	})
}

func TestMarkNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &published{}
		s, _ := newTestService(t, newMemory(rulestest.World{}), p, Config{})
		left := -1
		if err := s.MarkNotifications(Caller{User: "ann", Socket: "s"}, make([]NotificationID, 3), func(unread int, err error) {
			if left = unread; err != nil {
				t.Errorf("MarkNotifications: %v", err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if left != 97 {
			t.Errorf("unread = %d, want 97", left)
		}
		if diff := cmp.Diff([]string{"ann 3 97 not to s"}, p.noticesRead); diff != "" {
			t.Errorf("told the other sockets (-want +got):\n%s", diff)
		}
		err := s.MarkNotifications(Caller{User: "ann"}, make([]NotificationID, maxNotificationIDs+1), nil)
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("MarkNotifications of too many = %v, want invalid", err)
		}
	})
}
