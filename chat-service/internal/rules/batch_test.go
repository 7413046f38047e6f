package rules_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
)

// written tells what a batch writes beside its messages.
type written struct {
	Events       []string
	Left, Joined []chat.UserID
	Room         string // owner, and "inherit" when the longest member follows
}

func writtenBy(c rules.Changes) written {
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
	type commands = []rules.Command
	nobody := rulestest.World{"r": nil}
	ann := rulestest.World{"r": {"ann"}}
	both := rulestest.World{"r": {"ann", "bob"}}
	tests := []struct {
		name     string
		before   rulestest.World
		commands commands
		outcomes []string
		want     written
	}{
		{
			name: "a member sends", before: ann, commands: commands{rulestest.Send("ann", ""), rulestest.Send("ann", "")},
			outcomes: []string{"11", "12"}, want: written{Events: []string{"11 ann sent", "12 ann sent"}, Room: "ann"},
		}, {
			name: "a stranger sends: refused, and the others do not suffer", before: ann,
			commands: commands{rulestest.Send("eve", ""), rulestest.Send("ann", "")},
			outcomes: []string{"forbidden", "11"}, want: written{Events: []string{"11 ann sent"}, Room: "ann"},
		}, {
			name: "System sends without a membership", before: ann, commands: commands{rules.Send{Origin: rulestest.By(chat.System), System: true}},
			outcomes: []string{"11"}, want: written{Events: []string{"11 system sent"}, Room: "ann"},
		}, {
			name: "a user who is called like System needs a membership", before: ann, commands: commands{rulestest.Send(chat.System, "")},
			outcomes: []string{"forbidden"},
		}, {
			name: "there is no such room", before: rulestest.World{},
			commands: commands{rulestest.Send("ann", ""), rules.Send{Origin: rulestest.By(chat.System), System: true}, rulestest.Join("ann"), rulestest.Leave("ann")},
			outcomes: []string{"not_found", "not_found", "not_found", "-"},
		}, {
			name: "a client message id again in one batch", before: both,
			commands: commands{rulestest.Send("ann", "c"), rulestest.Send("ann", "c"), rulestest.Send("bob", "c"), rulestest.Send("ann", "d")},
			outcomes: []string{"11", "old 11", "12", "13"},
			want:     written{Events: []string{"11 ann sent", "12 bob sent", "13 ann sent"}, Room: "ann"},
		}, {
			name: "the first into a room without owner owns it", before: nobody, commands: commands{rulestest.Join("ann"), rulestest.Join("bob"), rulestest.Join("ann")},
			outcomes: []string{"11", "12", "-"},
			want:     written{Events: []string{"11 ann joined", "12 bob joined"}, Joined: []chat.UserID{"ann", "bob"}, Room: "ann"},
		}, {
			name: "who joins may send in the same batch, who left may not", before: ann,
			commands: commands{rulestest.Send("bob", ""), rulestest.Join("bob"), rulestest.Send("bob", ""), rulestest.Leave("bob"), rulestest.Send("bob", "")},
			outcomes: []string{"forbidden", "11", "12", "13", "forbidden"},
			want:     written{Events: []string{"11 bob joined", "12 bob sent", "13 bob left"}, Room: "ann"},
		}, {
			name: "a stranger leaves", before: ann, commands: commands{rulestest.Leave("eve")}, outcomes: []string{"-"},
		}, {
			name: "a member leaves, twice", before: both, commands: commands{rulestest.Leave("bob"), rulestest.Leave("bob")},
			outcomes: []string{"11", "-"}, want: written{Events: []string{"11 bob left"}, Left: []chat.UserID{"bob"}, Room: "ann"},
		}, {
			name: "the owner leaves: the longest member follows", before: both, commands: commands{rulestest.Leave("ann")},
			outcomes: []string{"11"}, want: written{Events: []string{"11 ann left"}, Left: []chat.UserID{"ann"}, Room: "inherit"},
		}, {
			name: "the last member leaves and another comes", before: ann, commands: commands{rulestest.Leave("ann"), rulestest.Join("cid")},
			outcomes: []string{"11", "12"},
			want: written{
				Events: []string{"11 ann left", "12 cid joined"}, Left: []chat.UserID{"ann"}, Joined: []chat.UserID{"cid"}, Room: "inherit",
			},
		}, {
			name: "the owner leaves and comes again: behind those who stayed", before: both, commands: commands{rulestest.Leave("ann"), rulestest.Join("ann")},
			outcomes: []string{"11", "12"},
			want: written{
				Events: []string{"11 ann left", "12 ann joined"}, Left: []chat.UserID{"ann"}, Joined: []chat.UserID{"ann"}, Room: "inherit",
			},
		}, {
			name: "who comes, leaves and comes again joined last", before: ann,
			commands: commands{rulestest.Join("bob"), rulestest.Leave("bob"), rulestest.Join("cid"), rulestest.Join("bob")},
			outcomes: []string{"11", "12", "13", "14"},
			want: written{
				Events: []string{"11 bob joined", "12 bob left", "13 cid joined", "14 bob joined"},
				Joined: []chat.UserID{"cid", "bob"}, Room: "ann",
			},
		}, {
			name: "who comes and leaves leaves nothing behind but the events", before: ann, commands: commands{rulestest.Join("bob"), rulestest.Leave("bob")},
			outcomes: []string{"11", "12"}, want: written{Events: []string{"11 bob joined", "12 bob left"}, Room: "ann"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			state := test.before.State()
			changes, outcomes := rules.Decide(state, test.commands)
			if diff := cmp.Diff(test.outcomes, rulestest.Short(outcomes)); diff != "" {
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
	state := rulestest.World{"r": {"ann"}}.State()
	first := rules.Outcome{Position: rules.Position{Seq: 3, ID: chat.NewMessageID(state.At, 3, 1)}, CreatedAt: state.At, Changed: true}
	state.Sent[rules.Repeat{Room: "r", Sender: "bob", ClientMsgID: "c"}] = first
	changes, outcomes := rules.Decide(state, []rules.Command{rulestest.Send("bob", "c"), rulestest.Send("ann", "c"), rulestest.Send("bob", "d")})
	if diff := cmp.Diff([]string{"old 3", "11", "forbidden"}, rulestest.Short(outcomes)); diff != "" || outcomes[0].ID != first.ID || len(changes.Events) != 1 {
		t.Errorf("outcomes (-want +got):\n%s%d events, first %v", diff, len(changes.Events), outcomes[0])
	}
}

// TestDecideAfterAnUnknownOutcome: what the lost try wrote is not written again, and the rest is.
func TestDecideAfterAnUnknownOutcome(t *testing.T) {
	state := rulestest.World{"r": nil}.State() // the sender left since
	state.Written = map[int]rules.Outcome{0: {Position: rules.Position{Seq: 9}, Changed: true}}
	changes, outcomes := rules.Decide(state, []rules.Command{rulestest.Send("ann", ""), rulestest.Join("bob"), rulestest.Send("bob", "")})
	if diff := cmp.Diff([]string{"9", "11", "12"}, rulestest.Short(outcomes)); diff != "" || len(changes.Events) != 2 {
		t.Errorf("outcomes (-want +got):\n%s%d events, want 2", diff, len(changes.Events))
	}
}

func TestDecidedEvents(t *testing.T) {
	state := rulestest.World{"r": {"ann"}}.State()
	at := state.At.Add(-time.Second)
	nameless := rulestest.Send("ann", "c")
	nameless.Name, nameless.CausedAt = chat.Name{}, at
	changes, _ := rules.Decide(state, []rules.Command{nameless, rulestest.Leave("ann")})
	id := chat.NewMessageID(state.At, 11, 7)
	want := []chat.RoomEvent{
		{Room: "r", Seq: 11, CausedAt: at, Fact: chat.MessageSent{Message: chat.Message{
			ID: id, Room: "r", Seq: 11, Sender: chat.Sender{ID: "ann", Name: "name of ann"}, Content: "x", Type: "text",
			CreatedAt: state.At, ClientMsgID: "c", N: 1,
		}}},
		{Room: "r", Seq: 12, Fact: chat.UserLeft{User: "ann"}, ExceptSocket: "of ann", EvictUser: "ann"},
	}
	if diff := cmp.Diff(want, changes.Events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]rules.ChangedRoom{{ID: "r", Room: rules.Room{Seq: 12, N: 1, Kind: access.Public}, Inherit: true}}, changes.Rooms); diff != "" {
		t.Errorf("rooms (-want +got):\n%s", diff)
	}
}

func TestNeedsOf(t *testing.T) {
	create := rulestest.Join("bob")
	create.Create = access.Public
	elsewhere := rulestest.Send("ann", "c")
	elsewhere.Room = "s"
	renamed := rulestest.Join("ann")
	renamed.Name.Version = 2
	got := rules.NeedsOf([]rules.Command{
		rulestest.Send("ann", "c"), create, create, rulestest.Send("ann", "c"), elsewhere, rules.Send{Origin: rulestest.By(chat.System), System: true}, rulestest.Leave("cid"), rulestest.Join("ann"), renamed,
	}, true)
	want := rules.Needs{
		Create: []chat.RoomID{"r"}, Rooms: []chat.RoomID{"r", "s"},
		Members: []chat.Membership{{Room: "r", User: "ann"}, {Room: "r", User: "bob"}, {Room: "s", User: "ann"}, {Room: "r", User: "cid"}},
		Counts:  []chat.RoomID{"r"}, Owners: []chat.RoomID{"r"}, Company: []chat.Membership{{Room: "r", User: "cid"}}, Repeats: []rules.Repeat{{Room: "r", Sender: "ann", ClientMsgID: "c"}, {Room: "s", Sender: "ann", ClientMsgID: "c"}},
		Names: []chat.UserName{{User: "ann", Name: chat.Name{Text: "ann", Version: 2}}, {User: "bob", Name: chat.Name{Text: "bob"}}},
		Logs:  []chat.UserID{"bob", "cid", "ann"}, Infos: []chat.RoomID{"r"}, Usage: []chat.UserID{"bob", "ann"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(rules.Needs{})); diff != "" {
		t.Errorf("NeedsOf (-want +got):\n%s", diff)
	}
}

// TestDecideNames: of the name that a socket has and the one that is known, the newer one holds.
func TestDecideNames(t *testing.T) {
	for _, test := range []struct{ socket, member, user, sends, joins chat.Name }{
		{socket: chat.Name{Text: "A", Version: 0}, sends: chat.Name{Text: "A", Version: 0}, joins: chat.Name{Text: "A", Version: 0}},
		{socket: chat.Name{Text: "A", Version: 0}, member: chat.Name{Text: "M", Version: 0}, user: chat.Name{Text: "U", Version: 0}, sends: chat.Name{Text: "A", Version: 0}, joins: chat.Name{Text: "A", Version: 0}},
		{socket: chat.Name{Text: "A", Version: 5}, member: chat.Name{Text: "M", Version: 4}, user: chat.Name{Text: "U", Version: 4}, sends: chat.Name{Text: "A", Version: 5}, joins: chat.Name{Text: "A", Version: 5}},
		{socket: chat.Name{Text: "A", Version: 4}, member: chat.Name{Text: "M", Version: 5}, user: chat.Name{Text: "U", Version: 5}, sends: chat.Name{Text: "M", Version: 5}, joins: chat.Name{Text: "U", Version: 5}},
		{socket: chat.Name{}, member: chat.Name{Text: "M", Version: 0}, user: chat.Name{Text: "U", Version: 0}, sends: chat.Name{Text: "M", Version: 0}, joins: chat.Name{Text: "U", Version: 0}}, // by a backend
		{socket: chat.Name{Text: "A", Version: 0}, member: chat.Name{Text: "M", Version: 5}, user: chat.Name{Text: "U", Version: 5}, sends: chat.Name{Text: "M", Version: 5}, joins: chat.Name{Text: "U", Version: 5}},
	} {
		state := rulestest.World{"r": {"ann"}}.State()
		state.Members[chat.Membership{Room: "r", User: "ann"}], state.Names = rules.Member{Is: true, Name: test.member, Role: access.RoleMember}, map[chat.UserID]chat.Name{"bob": test.user}
		says, enters, again := rulestest.Send("ann", ""), rulestest.Join("bob"), rulestest.Send("bob", "")
		says.Name, enters.Name, again.Name = test.socket, test.socket, test.socket
		changes, _ := rules.Decide(state, []rules.Command{says, enters, again})
		got := []string{changes.Events[0].Fact.(chat.MessageSent).Message.Sender.Name, changes.Events[1].Fact.(chat.UserJoined).Name, changes.Events[2].Fact.(chat.MessageSent).Message.Sender.Name}
		want := []string{test.sends.Text, test.joins.Text, test.joins.Text}
		if diff := cmp.Diff(want, got); diff != "" || changes.Joined[0].Name != test.joins {
			t.Errorf("a socket of %v, a member of %v, a user of %v: %v joined; said by (-want +got):\n%s", test.socket, test.member, test.user, changes.Joined[0].Name, diff)
		}
	}
}

// BenchmarkDecide is a batch as in production: 200 messages of 200 members in 50 rooms.
func BenchmarkDecide(b *testing.B) {
	before := rulestest.World{}
	var commands []rules.Command
	for i := range 200 {
		room, user := chat.RoomID(fmt.Sprint("room ", i%50)), chat.UserID(fmt.Sprint("user ", i))
		before[room] = append(before[room], user)
		commands = append(commands, rules.Send{Origin: rules.Origin{Room: room, User: user, Name: chat.Name{Text: "U"}}, Content: "x", Type: "text", ClientMsgID: fmt.Sprint(i)})
	}
	state := before.State()
	b.ReportAllocs()
	for b.Loop() {
		rules.NeedsOf(commands, false)
		rules.Decide(state, commands)
	}
}
