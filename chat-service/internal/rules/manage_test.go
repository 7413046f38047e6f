package rules_test

import (
	"slices"
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

func words(outcomes []rules.Outcome) (list []string) {
	for _, o := range outcomes {
		list = append(list, faulttest.Word(o.Err))
	}
	return list
}

// described is the room of doors with details of a version.
func described(version uint64, ann, bob access.Role) rules.State {
	s := doors(access.Public, ann, bob)
	s.Infos = map[chat.RoomID]chat.RoomInfo{"r": {RoomDetails: chat.RoomDetails{Profile: chat.Profile{Name: "Plans", Topic: "t", Data: []byte(`{}`)}, Version: version}}}
	return s
}

func TestUpdate(t *testing.T) {
	rename := chat.Patch{Name: new("New")}
	for _, test := range []struct {
		name    string
		role    access.Role
		updates []rules.Update
		want    []string
		version uint64 // of the last outcome
	}{
		{"a moderator", access.RoleModerator, []rules.Update{{Patch: rename}}, []string{"ok"}, 4},
		{"a member", access.RoleMember, []rules.Update{{Patch: rename}}, []string{"forbidden not_allowed"}, 0},
		{"a stranger", "", []rules.Update{{Patch: rename}}, []string{"forbidden"}, 0},
		{"of the version that there is", access.RoleOwner, []rules.Update{{Patch: rename, IfVersion: 3}}, []string{"ok"}, 4},
		{"of an older version", access.RoleOwner, []rules.Update{{Patch: rename, IfVersion: 2}}, []string{"conflict changed"}, 0},
		{"two at once of one version", access.RoleOwner, []rules.Update{{Patch: rename, IfVersion: 3}, {Patch: chat.Patch{Topic: new("x")}, IfVersion: 3}}, []string{"ok", "conflict changed"}, 0},
		{"nothing new", access.RoleOwner, []rules.Update{{Patch: chat.Patch{Name: new("Plans")}, IfVersion: 3}}, []string{"ok"}, 3},
		{"one after the other", access.RoleOwner, []rules.Update{{Patch: rename}, {Patch: rename}, {Patch: chat.Patch{Topic: new("")}}}, []string{"ok", "ok", "ok"}, 5},
		{"too long", access.RoleOwner, []rules.Update{{Patch: chat.Patch{SlowMode: new(7 * time.Hour)}}}, []string{"invalid"}, 0},
		{"above oneself", access.RoleModerator, []rules.Update{{Patch: chat.Patch{Send: new(access.RoleOwner)}}}, []string{"forbidden not_allowed"}, 0},
	} {
		state := described(3, test.role, "")
		var commands []rules.Command
		for _, u := range test.updates {
			u.Origin = rulestest.By("ann")
			commands = append(commands, u)
		}
		changes, outcomes := rules.Decide(state, commands)
		if diff := cmp.Diff(test.want, words(outcomes)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if v := outcomes[len(outcomes)-1].Version; v != test.version {
			t.Errorf("%s: version %d, want %d", test.name, v, test.version)
		}
		news := 0
		for _, o := range outcomes {
			if o.Changed {
				news++
			}
		}
		if len(changes.Events) != news || len(changes.Audit) != news {
			t.Errorf("%s: %d events and %d lines of the audit, want %d", test.name, len(changes.Events), len(changes.Audit), news)
		}
	}
	changes, _ := rules.Decide(described(3, access.RoleModerator, ""), []rules.Command{rules.Update{Origin: rulestest.By("ann"), Patch: rename}})
	want := chat.RoomDetails{Profile: chat.Profile{Name: "New", Topic: "t", Data: []byte(`{}`)}, Version: 4}
	if diff := cmp.Diff(chat.RoomEvent{Room: "r", Seq: 11, Fact: chat.RoomUpdated{Details: want, By: "ann"}}, changes.Events[0]); diff != "" {
		t.Errorf("the event (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&want, changes.Rooms[0].Details); diff != "" {
		t.Errorf("what is stored (-want +got):\n%s", diff)
	}
	// The answer of an earlier try got lost: the version that it made is the answer.
	again := described(4, access.RoleModerator, "")
	again.Again = true
	if _, outcomes := rules.Decide(again, []rules.Command{rules.Update{Origin: rulestest.By("ann"), Patch: chat.Patch{Name: new("Plans")}, IfVersion: 3}}); outcomes[0].Err != nil || outcomes[0].Version != 4 {
		t.Errorf("the same after a lost answer = %+v", outcomes[0])
	}
}

// TestSlowMode: members wait for exactly what is left, also when they leave and come again; moderators do not; what was sent before is
// answered as before.
func TestSlowMode(t *testing.T) {
	const slow = 10 * time.Second
	state := doors(access.Public, access.RoleMember, access.RoleModerator)
	room := state.Rooms["r"]
	room.Settings.SlowMode = slow
	state.Rooms["r"] = room
	ann := chat.Membership{Room: "r", User: "ann"}
	changes, outcomes := rules.Decide(state, []rules.Command{
		rulestest.Send("ann", "c"), rulestest.Send("ann", ""), rulestest.Send("bob", ""), rulestest.Send("bob", ""), rulestest.Send("ann", "c"),
	})
	if diff := cmp.Diff([]string{"ok", "rate_limited slow_mode", "ok", "ok", "ok"}, words(outcomes)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if len(changes.Members) != 1 || !changes.Members[0].SentAt.Equal(state.At) {
		t.Errorf("what is kept of ann = %+v", changes.Members)
	}
	state.Members[ann] = changes.Members[0].Member
	began := state.At
	for _, test := range []struct {
		after time.Duration
		wait  time.Duration
	}{{time.Millisecond, slow - time.Millisecond}, {slow - time.Millisecond, time.Millisecond}, {slow, 0}} {
		state.At = began.Add(test.after)
		changes, outcomes := rules.Decide(state, []rules.Command{rulestest.Leave("ann"), rulestest.Join("ann"), rulestest.Send("ann", "d")})
		var wait time.Duration
		if f, ok := outcomes[2].Err.(*fault.Error); ok { //nolint:errorlint // it is not wrapped
			wait = f.RetryAfter
		}
		if wait != test.wait {
			t.Errorf("after %v: %v, to wait %v, want %v", test.after, outcomes[2].Err, wait, test.wait)
		}
		if asks := slices.Contains(changes.Repeats, rules.Repeat{Room: "r", Sender: "ann", ClientMsgID: "d"}); asks != (test.wait > 0) {
			t.Errorf("after %v: the Store is asked whether the message is a repeat: %v", test.after, asks)
		}
		if test.wait > 0 && (len(changes.Restricted) != 1 || !changes.Restricted[0].SentAt.Equal(began)) {
			t.Errorf("after %v: kept of who left = %+v", test.after, changes.Restricted)
		}
	}
}

// TestRoomFull: joins and adds are refused at the bound, and go on when somebody has left.
func TestRoomFull(t *testing.T) {
	state := doors(access.Public, access.RoleModerator, "")
	room := state.Rooms["r"]
	room.Settings.MaxMembers = 4
	state.Rooms["r"], state.Counts = room, map[chat.RoomID]int{"r": 2}
	add := func(user chat.UserID) rules.Add {
		return rules.Add{Origin: rulestest.By("ann"), Who: rules.Invited{User: user, Role: access.RoleMember}}
	}
	_, outcomes := rules.Decide(state, []rules.Command{
		rulestest.Join("bob"), add("cid"), rulestest.Join("dan"), add("dan"), rulestest.Join("bob"), rulestest.Leave("bob"), add("dan"), rulestest.Join("bob"),
	})
	want := []string{"ok", "ok", "forbidden room_full", "forbidden room_full", "ok", "ok", "ok", "forbidden room_full"}
	if diff := cmp.Diff(want, words(outcomes)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// TestArchive: an archived room is read, and managed, but nothing is said and nobody comes.
func TestArchive(t *testing.T) {
	state := described(3, access.RoleModerator, access.RoleMember)
	changes, outcomes := rules.Decide(state, []rules.Command{
		rules.Archive{Origin: rulestest.By("bob")},
		rules.Archive{Origin: rulestest.By("ann")},
		rules.Archive{Origin: rulestest.By("ann")},
		rulestest.Send("ann", ""),
		rules.Send{Origin: rulestest.By(chat.System), System: true},
		rulestest.Join("eve"), rulestest.Join("bob"),
		rules.Add{Origin: rulestest.By("ann"), Who: rules.Invited{User: "eve"}},
		rulestest.Leave("bob"),
	})
	want := []string{
		"forbidden not_allowed", "ok", "ok", "forbidden archived", "forbidden archived", "forbidden archived", "ok", "forbidden archived", "ok",
	}
	if diff := cmp.Diff(want, words(outcomes)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if d := changes.Rooms[0].Details; d == nil || !d.ArchivedAt.Equal(state.At) || d.Version != 4 || len(changes.Audit) != 1 {
		t.Errorf("archived = %+v with the audit %+v", d, changes.Audit)
	}
}

// TestDelete: only an owner ends a room; then it is like one that there never was, but for its id.
func TestDelete(t *testing.T) {
	state := doors(access.Public, access.RoleModerator, access.RoleMember)
	changes, outcomes := rules.Decide(state, []rules.Command{
		rules.Delete{Origin: rulestest.By("bob")},
		rules.Delete{Origin: rulestest.By("ann")},
		rules.Delete{Origin: rulestest.By("eve")},
		rulestest.Send("bob", ""),
		rules.Delete{Origin: rulestest.By("zoe")},
		rules.Delete{Origin: rulestest.By("zoe")},
		rulestest.Send("bob", ""),
		rules.Send{Origin: rulestest.By(chat.System), System: true},
		rulestest.Join("bob"),
		rules.Join{Origin: rulestest.By("eve"), Create: access.Public},
		rulestest.Leave("bob"),
		rules.Create{Origin: rulestest.By("zoe"), New: chat.NewRoom{Kind: access.Public}},
		rules.Update{Origin: rulestest.By("zoe")},
	})
	want := []string{
		"forbidden not_allowed", "forbidden not_allowed", "forbidden", "ok", "ok", "not_found",
		"not_found", "not_found", "not_found", "not_found", "ok", "conflict exists", "not_found",
	}
	if diff := cmp.Diff(want, words(outcomes)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	room := []rules.ChangedRoom{{ID: "r", Room: rules.Room{Seq: 12, N: 1, Kind: access.Deleted}, Details: &chat.RoomDetails{}}}
	if diff := cmp.Diff(room, changes.Rooms); diff != "" || len(changes.Audit) != 1 || len(changes.Events) != 2 {
		t.Errorf("rooms (-want +got):\n%s%d events, audit %+v", diff, len(changes.Events), changes.Audit)
	}
}
