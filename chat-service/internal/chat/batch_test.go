package chat_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/chat/chattest"
)

// written tells what a batch writes beside its messages.
type written struct {
	Events       []string
	Left, Joined []chat.UserID
	Room         string // owner, and "inherit" when the longest member follows
}

func writtenBy(c chat.Changes) written {
	var w written
	for _, e := range c.Events {
		switch f := e.Fact.(type) {
		case chat.MessageSent:
			w.Events = append(w.Events, fmt.Sprint(e.Seq, " ", f.Message.Sender.ID, " sent"))
		case chat.UserJoined:
			w.Events = append(w.Events, fmt.Sprint(e.Seq, " ", f.User, " joined"))
		case chat.UserLeft:
			w.Events = append(w.Events, fmt.Sprint(e.Seq, " ", f.User, " left"))
		}
	}
	for _, m := range c.Left {
		w.Left = append(w.Left, m.User)
	}
	for _, m := range c.Joined {
		w.Joined = append(w.Joined, m.User)
	}
	for _, r := range c.Rooms {
		w.Room = string(r.Owner)
		if r.Inherit {
			w.Room = "inherit"
		}
	}
	return w
}

func TestDecide(t *testing.T) {
	type commands = []chat.Command
	nobody := chattest.World{"r": nil}
	ann := chattest.World{"r": {"ann"}}
	both := chattest.World{"r": {"ann", "bob"}}
	tests := []struct {
		name     string
		before   chattest.World
		commands commands
		outcomes []string
		want     written
	}{
		{
			name: "a member sends", before: ann, commands: commands{chattest.Send("ann", ""), chattest.Send("ann", "")},
			outcomes: []string{"11", "12"}, want: written{Events: []string{"11 ann sent", "12 ann sent"}, Room: "ann"},
		}, {
			name: "a stranger sends: refused, and the others do not suffer", before: ann,
			commands: commands{chattest.Send("eve", ""), chattest.Send("ann", "")},
			outcomes: []string{"forbidden", "11"}, want: written{Events: []string{"11 ann sent"}, Room: "ann"},
		}, {
			name: "System sends without a membership", before: ann, commands: commands{chat.Send{Origin: chattest.By(chat.System), System: true}},
			outcomes: []string{"11"}, want: written{Events: []string{"11 system sent"}, Room: "ann"},
		}, {
			name: "a user who is called like System needs a membership", before: ann, commands: commands{chattest.Send(chat.System, "")},
			outcomes: []string{"forbidden"},
		}, {
			name: "there is no such room", before: chattest.World{},
			commands: commands{chattest.Send("ann", ""), chat.Send{Origin: chattest.By(chat.System), System: true}, chattest.Join("ann"), chattest.Leave("ann")},
			outcomes: []string{"not_found", "not_found", "not_found", "-"},
		}, {
			name: "a client message id again in one batch", before: both,
			commands: commands{chattest.Send("ann", "c"), chattest.Send("ann", "c"), chattest.Send("bob", "c"), chattest.Send("ann", "d")},
			outcomes: []string{"11", "old 11", "12", "13"},
			want:     written{Events: []string{"11 ann sent", "12 bob sent", "13 ann sent"}, Room: "ann"},
		}, {
			name: "the first into a room without owner owns it", before: nobody, commands: commands{chattest.Join("ann"), chattest.Join("bob"), chattest.Join("ann")},
			outcomes: []string{"11", "12", "-"},
			want:     written{Events: []string{"11 ann joined", "12 bob joined"}, Joined: []chat.UserID{"ann", "bob"}, Room: "ann"},
		}, {
			name: "who joins may send in the same batch, who left may not", before: ann,
			commands: commands{chattest.Send("bob", ""), chattest.Join("bob"), chattest.Send("bob", ""), chattest.Leave("bob"), chattest.Send("bob", "")},
			outcomes: []string{"forbidden", "11", "12", "13", "forbidden"},
			want:     written{Events: []string{"11 bob joined", "12 bob sent", "13 bob left"}, Room: "ann"},
		}, {
			name: "a stranger leaves", before: ann, commands: commands{chattest.Leave("eve")}, outcomes: []string{"-"},
		}, {
			name: "a member leaves, twice", before: both, commands: commands{chattest.Leave("bob"), chattest.Leave("bob")},
			outcomes: []string{"11", "-"}, want: written{Events: []string{"11 bob left"}, Left: []chat.UserID{"bob"}, Room: "ann"},
		}, {
			name: "the owner leaves: the longest member follows", before: both, commands: commands{chattest.Leave("ann")},
			outcomes: []string{"11"}, want: written{Events: []string{"11 ann left"}, Left: []chat.UserID{"ann"}, Room: "inherit"},
		}, {
			name: "the last member leaves and another comes", before: ann, commands: commands{chattest.Leave("ann"), chattest.Join("cid")},
			outcomes: []string{"11", "12"},
			want: written{
				Events: []string{"11 ann left", "12 cid joined"}, Left: []chat.UserID{"ann"}, Joined: []chat.UserID{"cid"}, Room: "inherit",
			},
		}, {
			name: "the owner leaves and comes again: behind those who stayed", before: both, commands: commands{chattest.Leave("ann"), chattest.Join("ann")},
			outcomes: []string{"11", "12"},
			want: written{
				Events: []string{"11 ann left", "12 ann joined"}, Left: []chat.UserID{"ann"}, Joined: []chat.UserID{"ann"}, Room: "inherit",
			},
		}, {
			name: "who comes, leaves and comes again joined last", before: ann,
			commands: commands{chattest.Join("bob"), chattest.Leave("bob"), chattest.Join("cid"), chattest.Join("bob")},
			outcomes: []string{"11", "12", "13", "14"},
			want: written{
				Events: []string{"11 bob joined", "12 bob left", "13 cid joined", "14 bob joined"},
				Joined: []chat.UserID{"cid", "bob"}, Room: "ann",
			},
		}, {
			name: "who comes and leaves leaves nothing behind but the events", before: ann, commands: commands{chattest.Join("bob"), chattest.Leave("bob")},
			outcomes: []string{"11", "12"}, want: written{Events: []string{"11 bob joined", "12 bob left"}, Room: "ann"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			state := test.before.State()
			changes, outcomes := chat.Decide(state, test.commands)
			if diff := cmp.Diff(test.outcomes, chattest.Short(outcomes)); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, writtenBy(changes)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if changes.Empty() != (len(test.want.Events) == 0) {
				t.Errorf("Empty = %v with %d events", changes.Empty(), len(changes.Events))
			}
			tellsWhomItLocked(t, changes, test.commands)
			if diff := cmp.Diff(test.before.State().Members, state.Members); diff != "" {
				t.Errorf("the state was changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestDecideRepeatsAcrossBatches: what an earlier transaction wrote is found by its client message id, also when its sender has left.
func TestDecideRepeatsAcrossBatches(t *testing.T) {
	state := chattest.World{"r": {"ann"}}.State()
	first := chat.Outcome{Position: chat.Position{Seq: 3, ID: chat.NewMessageID(state.At, 3, 1)}, CreatedAt: state.At, Changed: true}
	state.Sent[chat.Repeat{"r", "bob", "c"}] = first
	changes, outcomes := chat.Decide(state, []chat.Command{chattest.Send("bob", "c"), chattest.Send("ann", "c"), chattest.Send("bob", "d")})
	if diff := cmp.Diff([]string{"old 3", "11", "forbidden"}, chattest.Short(outcomes)); diff != "" || outcomes[0].ID != first.ID || len(changes.Events) != 1 {
		t.Errorf("outcomes (-want +got):\n%s%d events, first %v", diff, len(changes.Events), outcomes[0])
	}
}

// TestDecideAfterAnUnknownOutcome: what the lost try wrote is not written again, and the rest is.
func TestDecideAfterAnUnknownOutcome(t *testing.T) {
	state := chattest.World{"r": nil}.State() // the sender left since
	state.Written = map[int]chat.Outcome{0: {Position: chat.Position{Seq: 9}, Changed: true}}
	changes, outcomes := chat.Decide(state, []chat.Command{chattest.Send("ann", ""), chattest.Join("bob"), chattest.Send("bob", "")})
	if diff := cmp.Diff([]string{"9", "11", "12"}, chattest.Short(outcomes)); diff != "" || len(changes.Events) != 2 {
		t.Errorf("outcomes (-want +got):\n%s%d events, want 2", diff, len(changes.Events))
	}
}

func TestDecidedEvents(t *testing.T) {
	state := chattest.World{"r": {"ann"}}.State()
	at := state.At.Add(-time.Second)
	nameless := chattest.Send("ann", "c")
	nameless.Name, nameless.CausedAt = chat.Name{}, at
	changes, _ := chat.Decide(state, []chat.Command{nameless, chattest.Leave("ann")})
	id := chat.NewMessageID(state.At, 11, 7)
	want := []chat.RoomEvent{
		{Room: "r", Seq: 11, CausedAt: at, Fact: chat.MessageSent{chat.Message{
			ID: id, Room: "r", Seq: 11, Sender: chat.Sender{ID: "ann", Name: "name of ann"}, Content: "x", Type: "text",
			CreatedAt: state.At, ClientMsgID: "c", N: 1,
		}}},
		{Room: "r", Seq: 12, Fact: chat.UserLeft{User: "ann"}, ExceptSocket: "of ann", EvictUser: "ann"},
	}
	if diff := cmp.Diff(want, changes.Events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]chat.ChangedRoom{{ID: "r", Room: chat.Room{Seq: 12, N: 1, Kind: access.Public}, Inherit: true}}, changes.Rooms); diff != "" {
		t.Errorf("rooms (-want +got):\n%s", diff)
	}
}

func TestNeedsOf(t *testing.T) {
	create := chattest.Join("bob")
	create.Create = access.Public
	elsewhere := chattest.Send("ann", "c")
	elsewhere.Room = "s"
	renamed := chattest.Join("ann")
	renamed.Name.Version = 2
	got := chat.NeedsOf([]chat.Command{
		chattest.Send("ann", "c"), create, create, chattest.Send("ann", "c"), elsewhere, chat.Send{Origin: chattest.By(chat.System), System: true}, chattest.Leave("cid"), chattest.Join("ann"), renamed,
	}, true)
	want := chat.Needs{
		Create: []chat.RoomID{"r"}, Rooms: []chat.RoomID{"r", "s"},
		Members: []chat.Membership{{"r", "ann"}, {"r", "bob"}, {"s", "ann"}, {"r", "cid"}},
		Counts:  []chat.RoomID{"r"}, Owners: []chat.RoomID{"r"}, Company: []chat.Membership{{"r", "cid"}}, Repeats: []chat.Repeat{{"r", "ann", "c"}, {"s", "ann", "c"}},
		Names: []chat.UserName{{"ann", chat.Name{"ann", 2}}, {"bob", chat.Name{Text: "bob"}}},
		Logs:  []chat.UserID{"bob", "cid", "ann"}, Infos: []chat.RoomID{"r"}, Usage: []chat.UserID{"bob", "ann"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(chat.Needs{})); diff != "" {
		t.Errorf("NeedsOf (-want +got):\n%s", diff)
	}
}

// TestDecideNames: of the name that a socket has and the one that is known, the newer one holds.
func TestDecideNames(t *testing.T) {
	for _, test := range []struct{ socket, member, user, sends, joins chat.Name }{
		{socket: chat.Name{"A", 0}, sends: chat.Name{"A", 0}, joins: chat.Name{"A", 0}},
		{socket: chat.Name{"A", 0}, member: chat.Name{"M", 0}, user: chat.Name{"U", 0}, sends: chat.Name{"A", 0}, joins: chat.Name{"A", 0}},
		{socket: chat.Name{"A", 5}, member: chat.Name{"M", 4}, user: chat.Name{"U", 4}, sends: chat.Name{"A", 5}, joins: chat.Name{"A", 5}},
		{socket: chat.Name{"A", 4}, member: chat.Name{"M", 5}, user: chat.Name{"U", 5}, sends: chat.Name{"M", 5}, joins: chat.Name{"U", 5}},
		{socket: chat.Name{}, member: chat.Name{"M", 0}, user: chat.Name{"U", 0}, sends: chat.Name{"M", 0}, joins: chat.Name{"U", 0}}, // by a backend
		{socket: chat.Name{"A", 0}, member: chat.Name{"M", 5}, user: chat.Name{"U", 5}, sends: chat.Name{"M", 5}, joins: chat.Name{"U", 5}},
	} {
		state := chattest.World{"r": {"ann"}}.State()
		state.Members[chat.Membership{"r", "ann"}], state.Names = chat.Member{Is: true, Name: test.member, Role: access.RoleMember}, map[chat.UserID]chat.Name{"bob": test.user}
		says, enters, again := chattest.Send("ann", ""), chattest.Join("bob"), chattest.Send("bob", "")
		says.Name, enters.Name, again.Name = test.socket, test.socket, test.socket
		changes, _ := chat.Decide(state, []chat.Command{says, enters, again})
		got := []string{changes.Events[0].Fact.(chat.MessageSent).Message.Sender.Name, changes.Events[1].Fact.(chat.UserJoined).Name, changes.Events[2].Fact.(chat.MessageSent).Message.Sender.Name}
		want := []string{test.sends.Text, test.joins.Text, test.joins.Text}
		if diff := cmp.Diff(want, got); diff != "" || changes.Joined[0].Name != test.joins {
			t.Errorf("a socket of %v, a member of %v, a user of %v: %v joined; said by (-want +got):\n%s", test.socket, test.member, test.user, changes.Joined[0].Name, diff)
		}
	}
}

// BenchmarkDecide is a batch as in production: 200 messages of 200 members in 50 rooms.
func BenchmarkDecide(b *testing.B) {
	before := chattest.World{}
	var commands []chat.Command
	for i := range 200 {
		room, user := chat.RoomID(fmt.Sprint("room ", i%50)), chat.UserID(fmt.Sprint("user ", i))
		before[room] = append(before[room], user)
		commands = append(commands, chat.Send{Origin: chat.Origin{Room: room, User: user, Name: chat.Name{Text: "U"}}, Content: "x", Type: "text", ClientMsgID: fmt.Sprint(i)})
	}
	state := before.State()
	b.ReportAllocs()
	for b.Loop() {
		chat.NeedsOf(commands, false)
		chat.Decide(state, commands)
	}
}
