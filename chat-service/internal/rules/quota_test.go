package rules_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// wait is how long a refusal says that one should wait; "" where there is none.
func wait(o rules.Outcome) string {
	if f, ok := o.Err.(*fault.Error); ok && f.RetryAfter > 0 { //nolint:errorlint // it is not wrapped
		return f.RetryAfter.String()
	}
	return ""
}

// TestRoomsOfAUser: whoever has made as many rooms as it may waits until the oldest of them is an hour old, whichever way the room is made;
// a refused room leaves nothing, and takes nothing.
func TestRoomsOfAUser(t *testing.T) {
	state := rulestest.World{"old": {"ann"}}.State()
	state.Quotas = rules.Quotas{Rooms: 4}
	ago := func(d time.Duration) time.Time { return state.At.Add(-d) }
	state.Usage = map[chat.UserID]rules.Usage{"ann": {Made: []time.Time{ago(2 * time.Hour), ago(time.Hour), ago(50 * time.Minute)}}}
	state.Fresh = map[chat.RoomID]bool{}
	in := func(user chat.UserID, room chat.RoomID) rules.Origin {
		state.Fresh[room] = room != "old"
		o := rulestest.By(user)
		o.Room = room
		return o
	}
	commands := []rules.Command{
		rules.Create{Origin: in("ann", "a"), New: chat.NewRoom{Kind: access.Private}},
		rules.Create{Origin: in("ann", "old"), New: chat.NewRoom{Kind: access.Private}}, // there is one
		rules.Join{Origin: in("ann", "b"), Create: access.Public},
		rules.Open{Origin: in("ann", "c"), Others: []rules.Invited{{User: "bob"}}},
		rules.Create{Origin: in("ann", "d"), New: chat.NewRoom{Kind: access.Public}},
		rules.Join{Origin: in("ann", "e"), Create: access.Public},
		rules.Open{Origin: in("ann", "f"), Others: []rules.Invited{{User: "bob"}}},
		rules.Join{Origin: in("bob", "d"), Create: access.Public}, // nobody has made it
		rules.Create{Origin: in(chat.System, "g"), New: chat.NewRoom{Kind: access.Public}},
	}
	changes, outcomes := rules.Decide(state, commands)
	var got []string
	for _, o := range outcomes {
		got = append(got, faulttest.Word(o.Err)+wait(o))
	}
	refused := "rate_limited too_many_rooms10m0s"
	if diff := cmp.Diff([]string{"ok", "conflict exists", "ok", "ok", refused, refused, refused, "ok", "ok"}, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	want := []rules.UserUsage{
		{User: "ann", Usage: rules.Usage{Made: []time.Time{ago(50 * time.Minute), state.At, state.At, state.At}}},
		{User: "bob", Usage: rules.Usage{Made: []time.Time{state.At}}},
	}
	if diff := cmp.Diff(want, changes.Usage); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]chat.RoomID{"e", "f"}, changes.Unmade); diff != "" {
		t.Errorf("unmade (-want +got):\n%s", diff)
	}
	if needs := rules.NeedsOf(commands, false); !cmp.Equal(needs.Usage, []chat.UserID{"ann", "bob"}) {
		t.Errorf("NeedsOf asks for the usage of %v, want ann and bob", needs.Usage)
	}
}

// TestJoinsOfAUser: who enters and leaves rooms in turn may do so for a burst and then at a rate. Entering a room in which one is costs
// nothing, and leaving is never refused.
func TestJoinsOfAUser(t *testing.T) {
	world := rulestest.World{"r": {"bob"}}
	usage := map[chat.UserID]rules.Usage{}
	at := world.State().At
	decide := func(commands ...rules.Command) []rules.Outcome {
		t.Helper()
		state := world.State()
		state.At, state.Usage, state.Quotas = at, usage, rules.Quotas{JoinRate: 6, JoinBurst: 3}
		changes, outcomes := rules.Decide(state, commands)
		for _, u := range changes.Usage {
			usage[u.User] = u.Usage
		}
		return outcomes
	}
	cycle := []rules.Command{rulestest.Join("ann"), rulestest.Join("ann"), rulestest.Leave("ann")}
	for i := range 3 {
		for _, o := range decide(cycle...) {
			if o.Err != nil {
				t.Errorf("cycle %d: %v, want it in the burst", i, o.Err)
			}
		}
	}
	refused := decide(rulestest.Join("ann"), rulestest.Join("cid"), rulestest.Leave("ann"))
	if got := fmt.Sprint(faulttest.Word(refused[0].Err), " ", wait(refused[0])); got != "rate_limited 10s" {
		t.Errorf("the fourth join = %s, want rate_limited 10s", got)
	}
	if refused[1].Err != nil || refused[2].Err != nil {
		t.Errorf("the join of another user, and a leave = %v, %v, want nil", refused[1].Err, refused[2].Err)
	}
	at = at.Add(10 * time.Second)
	again := decide(rulestest.Join("ann"), rulestest.Leave("ann"), rulestest.Join("ann"))
	if again[0].Err != nil || wait(again[2]) != "10s" {
		t.Errorf("two joins after 10 s = %v, %v, want the first of them", again[0].Err, again[2].Err)
	}
	at = at.Add(time.Hour)
	for i, o := range decide(append(append(cycle, cycle...), cycle...)...) {
		if o.Err != nil {
			t.Errorf("command %d after an hour = %v, want the burst again, and no more", i, o.Err)
		}
	}
	if o := decide(rulestest.Join("ann")); o[0].Err == nil {
		t.Error("a fourth join after an hour is let through")
	}
}

// TestMembersOfAnyRoom: the operator's bound holds for joins, adds and rooms that are made, and a room's own one where it is lower.
func TestMembersOfAnyRoom(t *testing.T) {
	state := rulestest.World{"r": {"ann", "bob"}}.State()
	state.Quotas, state.Counts = rules.Quotas{Members: 3}, map[chat.RoomID]int{"r": 2, "small": 2}
	state.Fresh = map[chat.RoomID]bool{"new": true, "pair": true, "trio": true}
	small := state.Rooms["r"]
	small.Settings.MaxMembers, small.Kind = 2, access.Public
	state.Rooms["small"] = small
	in := func(room chat.RoomID, user chat.UserID) rules.Origin {
		o := rulestest.By(user)
		o.Room = room
		return o
	}
	others := func(users ...chat.UserID) (list []rules.Invited) {
		for _, user := range users {
			list = append(list, rules.Invited{User: user})
		}
		return list
	}
	_, outcomes := rules.Decide(state, []rules.Command{
		rules.Join{Origin: in("r", "cid")},
		rules.Join{Origin: in("r", "dan")},
		rules.Add{Origin: in("r", "ann"), Who: rules.Invited{User: "dan"}},
		rules.Leave{Origin: in("r", "cid")},
		rules.Join{Origin: in("r", "dan")},
		rules.Join{Origin: in("small", "dan")},
		rules.Create{Origin: in("new", "ann"), New: chat.NewRoom{Kind: access.Private}, Members: others("b", "c", "d")},
		rules.Create{Origin: in("trio", "ann"), New: chat.NewRoom{Kind: access.Private}, Members: others("b", "c")},
		rules.Open{Origin: in("pair", "ann"), Others: others("b", "c", "d")},
	})
	full := "forbidden room_full"
	var got []string
	for _, o := range outcomes {
		got = append(got, faulttest.Word(o.Err))
	}
	if diff := cmp.Diff([]string{"ok", full, full, "ok", "ok", full, full, "ok", full}, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}
