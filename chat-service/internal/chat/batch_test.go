package chat

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/starling-chat/starling/proto/fault"
)

// world is the state before a batch, in short: a room is public, has seq 10, and the first of its members owns it.
type world map[RoomID][]UserID

func (w world) state() State {
	s := State{
		At: time.UnixMilli(1_800_000_000_000).UTC(), Random: func() uint64 { return 7 },
		Rooms: map[RoomID]Room{}, Members: map[Membership]Member{}, Sent: map[Repeat]Outcome{},
	}
	for room, members := range w {
		r := Room{Seq: 10, Kind: Public}
		for i, user := range members {
			if i == 0 {
				r.Owner = user
			}
			s.Members[Membership{room, user}] = Member{Is: true, Name: Name{Text: "name of " + string(user)}, Role: RoleMember}
		}
		s.Rooms[room] = r
	}
	return s
}

func by(user UserID) Origin {
	return Origin{Room: "r", User: user, Name: Name{Text: string(user)}, Socket: "of " + string(user)}
}

func send(user UserID, id string) Send {
	return Send{Origin: by(user), Content: "x", Type: "text", ClientMsgID: id}
}
func join(user UserID) Join   { return Join{Origin: by(user)} }
func leave(user UserID) Leave { return Leave{Origin: by(user)} }

// short tells outcomes in one word each: the sequence, "old" before one that is no news, the kind of refusal, or "-" for nothing done.
func short(outcomes []Outcome) []string {
	words := make([]string, len(outcomes))
	for i, o := range outcomes {
		switch {
		case o.Err != nil:
			words[i] = string(fault.KindOf(o.Err))
		case o.Changed:
			words[i] = fmt.Sprint(o.Seq)
		case o.Seq > 0:
			words[i] = fmt.Sprint("old ", o.Seq)
		default:
			words[i] = "-"
		}
	}
	return words
}

// written tells what a batch writes beside its messages.
type written struct {
	Events       []string
	Left, Joined []UserID
	Room         string // owner, and "inherit" when the longest member follows
}

func writtenBy(c Changes) written {
	var w written
	for _, e := range c.Events {
		switch f := e.Fact.(type) {
		case MessageSent:
			w.Events = append(w.Events, fmt.Sprint(e.Seq, " ", f.Message.Sender.ID, " sent"))
		case UserJoined:
			w.Events = append(w.Events, fmt.Sprint(e.Seq, " ", f.User, " joined"))
		case UserLeft:
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
	type commands = []Command
	nobody := world{"r": nil}
	ann := world{"r": {"ann"}}
	both := world{"r": {"ann", "bob"}}
	tests := []struct {
		name     string
		before   world
		commands commands
		outcomes []string
		want     written
	}{
		{
			name: "a member sends", before: ann, commands: commands{send("ann", ""), send("ann", "")},
			outcomes: []string{"11", "12"}, want: written{Events: []string{"11 ann sent", "12 ann sent"}, Room: "ann"},
		}, {
			name: "a stranger sends: refused, and the others do not suffer", before: ann,
			commands: commands{send("eve", ""), send("ann", "")},
			outcomes: []string{"forbidden", "11"}, want: written{Events: []string{"11 ann sent"}, Room: "ann"},
		}, {
			name: "System sends without a membership", before: ann, commands: commands{Send{Origin: by(System), System: true}},
			outcomes: []string{"11"}, want: written{Events: []string{"11 system sent"}, Room: "ann"},
		}, {
			name: "a user who is called like System needs a membership", before: ann, commands: commands{send(System, "")},
			outcomes: []string{"forbidden"},
		}, {
			name: "there is no such room", before: world{},
			commands: commands{send("ann", ""), Send{Origin: by(System), System: true}, join("ann"), leave("ann")},
			outcomes: []string{"not_found", "not_found", "not_found", "-"},
		}, {
			name: "a client message id again in one batch", before: both,
			commands: commands{send("ann", "c"), send("ann", "c"), send("bob", "c"), send("ann", "d")},
			outcomes: []string{"11", "old 11", "12", "13"},
			want:     written{Events: []string{"11 ann sent", "12 bob sent", "13 ann sent"}, Room: "ann"},
		}, {
			name: "the first into a room without owner owns it", before: nobody, commands: commands{join("ann"), join("bob"), join("ann")},
			outcomes: []string{"11", "12", "-"},
			want:     written{Events: []string{"11 ann joined", "12 bob joined"}, Joined: []UserID{"ann", "bob"}, Room: "ann"},
		}, {
			name: "who joins may send in the same batch, who left may not", before: ann,
			commands: commands{send("bob", ""), join("bob"), send("bob", ""), leave("bob"), send("bob", "")},
			outcomes: []string{"forbidden", "11", "12", "13", "forbidden"},
			want:     written{Events: []string{"11 bob joined", "12 bob sent", "13 bob left"}, Room: "ann"},
		}, {
			name: "a stranger leaves", before: ann, commands: commands{leave("eve")}, outcomes: []string{"-"},
		}, {
			name: "a member leaves, twice", before: both, commands: commands{leave("bob"), leave("bob")},
			outcomes: []string{"11", "-"}, want: written{Events: []string{"11 bob left"}, Left: []UserID{"bob"}, Room: "ann"},
		}, {
			name: "the owner leaves: the longest member follows", before: both, commands: commands{leave("ann")},
			outcomes: []string{"11"}, want: written{Events: []string{"11 ann left"}, Left: []UserID{"ann"}, Room: "inherit"},
		}, {
			name: "the last member leaves and another comes", before: ann, commands: commands{leave("ann"), join("cid")},
			outcomes: []string{"11", "12"},
			want: written{
				Events: []string{"11 ann left", "12 cid joined"}, Left: []UserID{"ann"}, Joined: []UserID{"cid"}, Room: "inherit",
			},
		}, {
			name: "the owner leaves and comes again: behind those who stayed", before: both, commands: commands{leave("ann"), join("ann")},
			outcomes: []string{"11", "12"},
			want: written{
				Events: []string{"11 ann left", "12 ann joined"}, Left: []UserID{"ann"}, Joined: []UserID{"ann"}, Room: "inherit",
			},
		}, {
			name: "who comes, leaves and comes again joined last", before: ann,
			commands: commands{join("bob"), leave("bob"), join("cid"), join("bob")},
			outcomes: []string{"11", "12", "13", "14"},
			want: written{
				Events: []string{"11 bob joined", "12 bob left", "13 cid joined", "14 bob joined"},
				Joined: []UserID{"cid", "bob"}, Room: "ann",
			},
		}, {
			name: "who comes and leaves leaves nothing behind but the events", before: ann, commands: commands{join("bob"), leave("bob")},
			outcomes: []string{"11", "12"}, want: written{Events: []string{"11 bob joined", "12 bob left"}, Room: "ann"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			state := test.before.state()
			changes, outcomes := Decide(state, test.commands)
			if diff := cmp.Diff(test.outcomes, short(outcomes)); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, writtenBy(changes)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if changes.Empty() != (len(test.want.Events) == 0) {
				t.Errorf("Empty = %v with %d events", changes.Empty(), len(changes.Events))
			}
			if diff := cmp.Diff(test.before.state().Members, state.Members); diff != "" {
				t.Errorf("the state was changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestDecideRepeatsAcrossBatches: what an earlier transaction wrote is found by its client message id, also when its sender has left.
func TestDecideRepeatsAcrossBatches(t *testing.T) {
	state := world{"r": {"ann"}}.state()
	first := Outcome{Position: Position{Seq: 3, ID: NewMessageID(state.At, 3, 1)}, CreatedAt: state.At, Changed: true}
	state.Sent[Repeat{"r", "bob", "c"}] = first
	changes, outcomes := Decide(state, []Command{send("bob", "c"), send("ann", "c"), send("bob", "d")})
	if diff := cmp.Diff([]string{"old 3", "11", "forbidden"}, short(outcomes)); diff != "" || outcomes[0].ID != first.ID || len(changes.Events) != 1 {
		t.Errorf("outcomes (-want +got):\n%s%d events, first %v", diff, len(changes.Events), outcomes[0])
	}
}

// TestDecideAfterAnUnknownOutcome: what the lost try wrote is not written again, and the rest is.
func TestDecideAfterAnUnknownOutcome(t *testing.T) {
	state := world{"r": nil}.state() // the sender left since
	state.Written = map[int]Outcome{0: {Position: Position{Seq: 9}, Changed: true}}
	changes, outcomes := Decide(state, []Command{send("ann", ""), join("bob"), send("bob", "")})
	if diff := cmp.Diff([]string{"9", "11", "12"}, short(outcomes)); diff != "" || len(changes.Events) != 2 {
		t.Errorf("outcomes (-want +got):\n%s%d events, want 2", diff, len(changes.Events))
	}
}

func TestDecidedEvents(t *testing.T) {
	state := world{"r": {"ann"}}.state()
	at := state.At.Add(-time.Second)
	nameless := send("ann", "c")
	nameless.Name, nameless.CausedAt = Name{}, at
	changes, _ := Decide(state, []Command{nameless, leave("ann")})
	id := NewMessageID(state.At, 11, 7)
	want := []RoomEvent{
		{Room: "r", Seq: 11, CausedAt: at, Fact: MessageSent{Message{
			ID: id, Room: "r", Seq: 11, Sender: Sender{ID: "ann", Name: "name of ann"}, Content: "x", Type: "text",
			CreatedAt: state.At, ClientMsgID: "c",
		}}},
		{Room: "r", Seq: 12, Fact: UserLeft{User: "ann"}, ExceptSocket: "of ann", EvictUser: "ann"},
	}
	if diff := cmp.Diff(want, changes.Events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]ChangedRoom{{ID: "r", Room: Room{Seq: 12, Kind: Public}, Inherit: true}}, changes.Rooms); diff != "" {
		t.Errorf("rooms (-want +got):\n%s", diff)
	}
}

func TestNeedsOf(t *testing.T) {
	create := join("bob")
	create.Create = Public
	elsewhere := send("ann", "c")
	elsewhere.Room = "s"
	renamed := join("ann")
	renamed.Name.Version = 2
	got := NeedsOf([]Command{
		send("ann", "c"), create, create, send("ann", "c"), elsewhere, Send{Origin: by(System), System: true}, leave("cid"), join("ann"), renamed,
	}, true)
	want := Needs{
		Create: []RoomID{"r"}, Rooms: []RoomID{"r", "s"},
		Members: []Membership{{"r", "ann"}, {"r", "bob"}, {"s", "ann"}, {"r", "cid"}},
		Owners:  []RoomID{"r"}, Company: []Membership{{"r", "cid"}}, Repeats: []Repeat{{"r", "ann", "c"}, {"s", "ann", "c"}},
		Names: []UserName{{"ann", Name{"ann", 2}}, {"bob", Name{Text: "bob"}}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Needs{})); diff != "" {
		t.Errorf("NeedsOf (-want +got):\n%s", diff)
	}
}

// TestDecideNames: of the name that a socket has and the one that is known, the newer one holds.
func TestDecideNames(t *testing.T) {
	for _, test := range []struct{ socket, member, user, sends, joins Name }{
		{socket: Name{"A", 0}, sends: Name{"A", 0}, joins: Name{"A", 0}},
		{socket: Name{"A", 0}, member: Name{"M", 0}, user: Name{"U", 0}, sends: Name{"A", 0}, joins: Name{"A", 0}},
		{socket: Name{"A", 5}, member: Name{"M", 4}, user: Name{"U", 4}, sends: Name{"A", 5}, joins: Name{"A", 5}},
		{socket: Name{"A", 4}, member: Name{"M", 5}, user: Name{"U", 5}, sends: Name{"M", 5}, joins: Name{"U", 5}},
		{socket: Name{}, member: Name{"M", 0}, user: Name{"U", 0}, sends: Name{"M", 0}, joins: Name{"U", 0}}, // by a backend
		{socket: Name{"A", 0}, member: Name{"M", 5}, user: Name{"U", 5}, sends: Name{"M", 5}, joins: Name{"U", 5}},
	} {
		state := world{"r": {"ann"}}.state()
		state.Members[Membership{"r", "ann"}], state.Names = Member{Is: true, Name: test.member, Role: RoleMember}, map[UserID]Name{"bob": test.user}
		says, enters, again := send("ann", ""), join("bob"), send("bob", "")
		says.Name, enters.Name, again.Name = test.socket, test.socket, test.socket
		changes, _ := Decide(state, []Command{says, enters, again})
		got := []string{changes.Events[0].Fact.(MessageSent).Message.Sender.Name, changes.Events[1].Fact.(UserJoined).Name, changes.Events[2].Fact.(MessageSent).Message.Sender.Name}
		want := []string{test.sends.Text, test.joins.Text, test.joins.Text}
		if diff := cmp.Diff(want, got); diff != "" || changes.Joined[0].Name != test.joins {
			t.Errorf("a socket of %v, a member of %v, a user of %v: %v joined; said by (-want +got):\n%s", test.socket, test.member, test.user, changes.Joined[0].Name, diff)
		}
	}
}

// BenchmarkDecide is a batch as in production: 200 messages of 200 members in 50 rooms.
func BenchmarkDecide(b *testing.B) {
	before := world{}
	var commands []Command
	for i := range 200 {
		room, user := RoomID(fmt.Sprint("room ", i%50)), UserID(fmt.Sprint("user ", i))
		before[room] = append(before[room], user)
		commands = append(commands, Send{Origin: Origin{Room: room, User: user, Name: Name{Text: "U"}}, Content: "x", Type: "text", ClientMsgID: fmt.Sprint(i)})
	}
	state := before.state()
	b.ReportAllocs()
	for b.Loop() {
		NeedsOf(commands, false)
		Decide(state, commands)
	}
}
