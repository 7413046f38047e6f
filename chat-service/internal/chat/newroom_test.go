package chat_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/chat/chattest"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

func TestCreateAndOpen(t *testing.T) {
	fresh := func() chat.State {
		s := chattest.World{}.State()
		s.Fresh = map[chat.RoomID]bool{"r": true}
		s.Names = map[chat.UserID]chat.Name{"bob": {Text: "Bob", Version: 7}, "cid": {}} // nobody has told how cid is called
		return s
	}
	create := chat.Create{Origin: chattest.By("ann"), New: chat.NewRoom{Kind: access.Private}, Members: []chat.Invited{{"bob", access.RoleModerator}, {"cid", access.RoleMember}}}
	changes, outcomes := chat.Decide(fresh(), []chat.Command{chattest.Send("ann", ""), create, chattest.Send("bob", ""), chattest.Join("eve"), create})
	want := []string{"not_found", "ok", "ok", "not_found", "conflict exists"}
	var got []string
	for _, o := range outcomes {
		got = append(got, faulttest.Word(o.Err))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	made := []chat.ChangedRoom{{ID: "r", Room: chat.Room{Seq: 4, N: 1, Owner: "ann", Kind: access.Private}, Details: &chat.RoomDetails{Version: 1}}}
	if diff := cmp.Diff(made, changes.Rooms); diff != "" {
		t.Errorf("rooms (-want +got):\n%s", diff)
	}
	joined := []chat.NewMember{
		{chat.Membership{"r", "ann"}, chat.Name{Text: "ann"}, access.RoleMember, false, time.Time{}, time.Time{}, 1},
		{chat.Membership{"r", "bob"}, chat.Name{Text: "Bob", Version: 7}, access.RoleModerator, false, time.Time{}, time.Time{}, 2},
		{chat.Membership{"r", "cid"}, chat.Name{Text: "cid"}, access.RoleMember, false, time.Time{}, time.Time{}, 3},
	}
	if diff := cmp.Diff(joined, changes.Joined); diff != "" {
		t.Errorf("joined (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(chat.UserJoined{User: "bob", Name: "Bob", By: "ann"}, changes.Events[1].Fact); diff != "" {
		t.Errorf("the second event (-want +got):\n%s", diff)
	}

	open := func(user, other chat.UserID) chat.Open {
		return chat.Open{Origin: chattest.By(user), Others: []chat.Invited{{User: other}}}
	}
	changes, outcomes = chat.Decide(fresh(), []chat.Command{open("ann", "bob"), open("bob", "ann"), chattest.Leave("ann"), open("eve", "bob")})
	if !outcomes[0].Changed || outcomes[1].Changed || outcomes[1].Err != nil || len(changes.Joined) != 2 || changes.Rooms[0].Owner != "" {
		t.Errorf("two who open at once = %+v, %+v", outcomes, changes)
	}
	if a, e := faulttest.Word(outcomes[2].Err), faulttest.Word(outcomes[3].Err); a != "forbidden not_allowed" || e != "not_found" {
		t.Errorf("leaving a direct room = %s, a stranger opening it = %s", a, e)
	}

	// A room that was locked for a command which did not make it is taken away again.
	changes, _ = chat.Decide(fresh(), []chat.Command{chattest.Send("ann", "")})
	if diff := cmp.Diff([]chat.RoomID{"r"}, changes.Unmade); diff != "" {
		t.Errorf("unmade (-want +got):\n%s", diff)
	}
	again := chattest.World{"r": {"ann"}}.State()
	again.Again = true
	if _, outcomes := chat.Decide(again, []chat.Command{create, chat.Create{Origin: chattest.By("eve")}}); outcomes[0].Err != nil || outcomes[1].Err == nil {
		t.Errorf("a room that a lost try made = %v for its owner, %v for another", outcomes[0].Err, outcomes[1].Err)
	}
}

func TestDirectID(t *testing.T) {
	a := chat.DirectID([]chat.UserID{"ann", "bob"})
	if a != chat.DirectID([]chat.UserID{"bob", "ann"}) || a == chat.DirectID([]chat.UserID{"annb", "ob"}) || a == chat.DirectID([]chat.UserID{"ann", "bob", "cid"}) {
		t.Error("the id of a direct room does not follow from who is in it")
	}
	if _, err := chat.ParseRoomID(string(a)); err != nil || !chat.IsDirectID(a) {
		t.Errorf("%s is no direct room's id: %v", a, err)
	}
	for _, id := range []chat.RoomID{"direct:", "direct:team", "direct", "room"} {
		if chat.IsDirectID(id) {
			t.Errorf("IsDirectID(%s) = true", id)
		}
	}
}
