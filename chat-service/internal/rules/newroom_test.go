package rules_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

func TestCreateAndOpen(t *testing.T) {
	fresh := func() rules.State {
		s := rulestest.World{}.State()
		s.Fresh = map[chat.RoomID]bool{"r": true}
		s.Names = map[chat.UserID]chat.Name{"bob": {Text: "Bob", Version: 7}, "cid": {}} // nobody has told how cid is called
		return s
	}
	create := rules.Create{Origin: rulestest.By("ann"), New: chat.NewRoom{Kind: access.Private}, Members: []rules.Invited{{User: "bob", Role: access.RoleModerator}, {User: "cid", Role: access.RoleMember}}}
	changes, outcomes := rules.Decide(fresh(), []rules.Command{rulestest.Send("ann", ""), create, rulestest.Send("bob", ""), rulestest.Join("eve"), create})
	want := []string{"not_found", "ok", "ok", "not_found", "conflict exists"}
	var got []string
	for _, o := range outcomes {
		got = append(got, faulttest.Word(o.Err))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	made := []rules.ChangedRoom{{ID: "r", Room: rules.Room{Seq: 4, N: 1, Owner: "ann", Kind: access.Private}, Details: &chat.RoomDetails{Version: 1}}}
	if diff := cmp.Diff(made, changes.Rooms); diff != "" {
		t.Errorf("rooms (-want +got):\n%s", diff)
	}
	joined := []rules.NewMember{
		{Membership: chat.Membership{Room: "r", User: "ann"}, Name: chat.Name{Text: "ann"}, Role: access.RoleMember, ByToken: false, MutedUntil: time.Time{}, SentAt: time.Time{}, Seq: 1},
		{Membership: chat.Membership{Room: "r", User: "bob"}, Name: chat.Name{Text: "Bob", Version: 7}, Role: access.RoleModerator, ByToken: false, MutedUntil: time.Time{}, SentAt: time.Time{}, Seq: 2},
		{Membership: chat.Membership{Room: "r", User: "cid"}, Name: chat.Name{Text: "cid"}, Role: access.RoleMember, ByToken: false, MutedUntil: time.Time{}, SentAt: time.Time{}, Seq: 3},
	}
	if diff := cmp.Diff(joined, changes.Joined); diff != "" {
		t.Errorf("joined (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(chat.UserJoined{User: "bob", Name: "Bob", By: "ann"}, changes.Events[1].Fact); diff != "" {
		t.Errorf("the second event (-want +got):\n%s", diff)
	}

	open := func(user, other chat.UserID) rules.Open {
		return rules.Open{Origin: rulestest.By(user), Others: []rules.Invited{{User: other}}}
	}
	changes, outcomes = rules.Decide(fresh(), []rules.Command{open("ann", "bob"), open("bob", "ann"), rulestest.Leave("ann"), open("eve", "bob")})
	if !outcomes[0].Changed || outcomes[1].Changed || outcomes[1].Err != nil || len(changes.Joined) != 2 || changes.Rooms[0].Owner != "" {
		t.Errorf("two who open at once = %+v, %+v", outcomes, changes)
	}
	if a, e := faulttest.Word(outcomes[2].Err), faulttest.Word(outcomes[3].Err); a != "forbidden not_allowed" || e != "not_found" {
		t.Errorf("leaving a direct room = %s, a stranger opening it = %s", a, e)
	}

	// A room that was locked for a command which did not make it is taken away again.
	changes, _ = rules.Decide(fresh(), []rules.Command{rulestest.Send("ann", "")})
	if diff := cmp.Diff([]chat.RoomID{"r"}, changes.Unmade); diff != "" {
		t.Errorf("unmade (-want +got):\n%s", diff)
	}
	again := rulestest.World{"r": {"ann"}}.State()
	again.Again = true
	if _, outcomes := rules.Decide(again, []rules.Command{create, rules.Create{Origin: rulestest.By("eve")}}); outcomes[0].Err != nil || outcomes[1].Err == nil {
		t.Errorf("a room that a lost try made = %v for its owner, %v for another", outcomes[0].Err, outcomes[1].Err)
	}
}
