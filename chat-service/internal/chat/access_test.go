package chat

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/proto/fault"
)

// answer is a refusal in short: its code and its reason; "ok" = none.
func answer(err error) string {
	if err == nil {
		return "ok"
	}
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err.Error()
	}
	if f.Reason == "" {
		return string(f.Kind)
	}
	return string(f.Kind) + " " + string(f.Reason)
}

// restriction is what a user is kept from.
type restriction struct {
	name          string
	banned, muted time.Duration // from now; 0 = not, more than a year = without end
}

func restrictions() []restriction {
	return []restriction{
		{name: "free"},
		{name: "banned", banned: time.Hour},
		{name: "banned for ever", banned: forever},
		{name: "ban over", banned: -time.Second},
		{name: "muted", muted: time.Hour},
		{name: "muted for ever", muted: forever},
		{name: "mute over", muted: -time.Second},
	}
}

const forever = 10000 * time.Hour

func (r restriction) at(now time.Time) (banned, muted time.Time) {
	end := func(d time.Duration) time.Time {
		if d == forever {
			return Forever()
		} else if d == 0 {
			return time.Time{}
		}
		return now.Add(d)
	}
	return end(r.banned), end(r.muted)
}

// expected is the table of product rules in its own words, for every act.
func expected(kind Kind, role Role, r restriction, act Act) string {
	member := role != ""
	switch {
	case kind == "":
		return "not_found"
	case r.banned > 0:
		return "forbidden banned"
	case member && act == Speak && r.muted > 0:
		return "forbidden muted"
	case member && act == Moderate && role == RoleMember:
		return "forbidden not_allowed"
	case member:
		return "ok"
	case kind == Private, kind == Direct:
		return "not_found"
	case act == Enter:
		return "ok"
	}
	return "forbidden"
}

// TestAccess tries kinds × roles × restrictions × acts, by the decision itself and by what stands on it.
func TestAccess(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, kind := range []Kind{"", Public, Private, Direct} {
		for _, role := range []Role{"", RoleMember, RoleModerator, RoleOwner} {
			for _, r := range restrictions() {
				if kind == "" && role != "" {
					continue
				}
				name := fmt.Sprintf("%q, %q, %s", kind, role, r.name)
				banned, muted := r.at(now)
				s := Standing{Exists: kind != "", Kind: kind, Member: role != "", Role: role, BannedUntil: banned, MutedUntil: muted}
				for act := Enter; act <= Moderate; act++ {
					err := s.Refuse(act, now)
					if got, want := answer(err), expected(kind, role, r, act); got != want {
						t.Errorf("%s: Refuse(%v) = %s, want %s", name, act, got, want)
					}
					checkUntil(t, name, err, now.Add(r.banned+r.muted), r.banned == forever || r.muted == forever)
				}
				decideIn(t, name, kind, role, r, now)
			}
		}
	}
}

// checkUntil fails unless a refusal for a while says until when.
func checkUntil(t *testing.T, name string, err error, end time.Time, endless bool) {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Reason != fault.ReasonBanned && f.Reason != fault.ReasonMuted {
		return
	}
	if endless && !f.Until.IsZero() || !endless && !f.Until.Equal(end) {
		t.Errorf("%s: until %v, want %v, endless %v", name, f.Until, end, endless)
	}
}

// decideIn gives a user's commands to Decide: each on its own, with nothing before.
func decideIn(t *testing.T, name string, kind Kind, role Role, r restriction, now time.Time) {
	t.Helper()
	state := world{}.state()
	state.At = now
	if kind != "" {
		room := Room{Seq: 10, Kind: kind, Owner: "someone"}
		if role == RoleOwner {
			room.Owner = "ann"
		}
		state.Rooms["r"] = room
	}
	m := Member{Is: role != "", Role: role}
	m.BannedUntil, m.MutedUntil = r.at(now)
	if role == RoleOwner {
		m.Role = RoleMember // the owner of the room is one whatever the membership says
	}
	state.Members[Membership{"r", "ann"}] = m
	for _, c := range []struct {
		what    string
		command Command
		want    string
	}{
		{"Send", send("ann", ""), expected(kind, role, r, Speak)},
		{"Join", join("ann"), expected(kind, role, r, Enter)},
		{"Create", Create{Origin: by("ann"), New: NewRoom{Kind: Private}}, "conflict exists"},
	} {
		changes, outcomes := Decide(state, []Command{c.command})
		if got := answer(outcomes[0].Err); got != c.want {
			t.Errorf("%s: %s = %s, want %s", name, c.what, got, c.want)
		}
		if outcomes[0].Err != nil && !changes.Empty() {
			t.Errorf("%s: a refused %s changed %+v", name, c.what, changes)
		}
	}
}

// TestPrivateRoomLooksLikeNone: a stranger reads the same words.
func TestPrivateRoomLooksLikeNone(t *testing.T) {
	for act := Enter; act <= Moderate; act++ {
		hidden, none := Standing{Exists: true, Kind: Private}, Standing{}
		if got, want := hidden.Refuse(act, time.Now()), none.Refuse(act, time.Now()); !reflect.DeepEqual(got, want) {
			t.Errorf("act %v in a private room = %v, want %v as in none", act, got, want)
		}
	}
}

func TestCreateAndOpen(t *testing.T) {
	fresh := func() State {
		s := world{}.state()
		s.Fresh = map[RoomID]bool{"r": true}
		return s
	}
	create := Create{Origin: by("ann"), New: NewRoom{Kind: Private}, Members: []Invited{{"bob", RoleModerator}, {"cid", RoleMember}}}
	changes, outcomes := Decide(fresh(), []Command{send("ann", ""), create, send("bob", ""), join("eve"), create})
	want := []string{"not_found", "ok", "ok", "not_found", "conflict exists"}
	var got []string
	for _, o := range outcomes {
		got = append(got, answer(o.Err))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	made := []ChangedRoom{{ID: "r", Room: Room{Seq: 4, Owner: "ann", Kind: Private}, Made: &create.New}}
	if diff := cmp.Diff(made, changes.Rooms); diff != "" {
		t.Errorf("rooms (-want +got):\n%s", diff)
	}
	joined := []NewMember{
		{Membership{"r", "ann"}, Name{Text: "ann"}, RoleMember, time.Time{}, 1},
		{Membership{"r", "bob"}, Name{Text: "bob"}, RoleModerator, time.Time{}, 2},
		{Membership{"r", "cid"}, Name{Text: "cid"}, RoleMember, time.Time{}, 3},
	}
	if diff := cmp.Diff(joined, changes.Joined); diff != "" {
		t.Errorf("joined (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(UserJoined{User: "bob", Name: "bob", By: "ann"}, changes.Events[1].Fact); diff != "" {
		t.Errorf("the second event (-want +got):\n%s", diff)
	}

	open := func(user, other UserID) Open { return Open{Origin: by(user), Others: []Invited{{User: other}}} }
	changes, outcomes = Decide(fresh(), []Command{open("ann", "bob"), open("bob", "ann"), leave("ann"), open("eve", "bob")})
	if !outcomes[0].Changed || outcomes[1].Changed || outcomes[1].Err != nil || len(changes.Joined) != 2 || changes.Rooms[0].Owner != "" {
		t.Errorf("two who open at once = %+v, %+v", outcomes, changes)
	}
	if a, e := answer(outcomes[2].Err), answer(outcomes[3].Err); a != "forbidden not_allowed" || e != "not_found" {
		t.Errorf("leaving a direct room = %s, a stranger opening it = %s", a, e)
	}

	// A room that was locked for a command which did not make it is taken away again.
	changes, _ = Decide(fresh(), []Command{send("ann", "")})
	if diff := cmp.Diff([]RoomID{"r"}, changes.Unmade); diff != "" {
		t.Errorf("unmade (-want +got):\n%s", diff)
	}
	again := world{"r": {"ann"}}.state()
	again.Again = true
	if _, outcomes := Decide(again, []Command{create, Create{Origin: by("eve")}}); outcomes[0].Err != nil || outcomes[1].Err == nil {
		t.Errorf("a room that a lost try made = %v for its owner, %v for another", outcomes[0].Err, outcomes[1].Err)
	}
}

func TestDirectID(t *testing.T) {
	a := directID([]UserID{"ann", "bob"})
	if a != directID([]UserID{"bob", "ann"}) || a == directID([]UserID{"annb", "ob"}) || a == directID([]UserID{"ann", "bob", "cid"}) {
		t.Error("the id of a direct room does not follow from who is in it")
	}
	if _, err := ParseRoomID(string(a)); err != nil || !IsDirectID(a) {
		t.Errorf("%s is no direct room's id: %v", a, err)
	}
	for _, id := range []RoomID{"direct:", "direct:team", "direct", "room"} {
		if IsDirectID(id) {
			t.Errorf("IsDirectID(%s) = true", id)
		}
	}
}
