package load

import (
	"encoding/json"
	"log/slog"
	"slices"
	"testing"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// TestInbox: an inbox:state has in it what the log tells up to its useq, whether that comes before or after it, and activity that is old changes nothing.
func TestInbox(t *testing.T) {
	l := New(Config{Seed: 7, Clients: 60, Rooms: 15, Log: slog.New(slog.DiscardHandler)})
	i := slices.IndexFunc(l.clients, func(c *client) bool { return c.user.role.listener })
	b := l.clients[i].others[0].inbox
	index := l.plan.inRooms[i][0]
	room, _ := json.Marshal(l.plan.rooms[index])
	in := `"roomId":` + string(room)
	for n, step := range []struct {
		event, argument string
		want            history.InboxRoom // without the room
		gone            bool
	}{
		{event: "me:mention", argument: `{"useq":4,` + in + `,"message":{"seq":12}}`, gone: true},
		{event: "me:mention", argument: `{"useq":3,` + in + `,"message":{"seq":9}}`, gone: true},
		{
			event: "inbox:state", argument: `{"rooms":[{` + in + `,"seq":11,"n":8,"unread":3,"mentions":1,"marker":{"seq":6,"n":5},"last":{"id":"a","preview":"x #1 hello"}}],"useq":3}`,
			want: history.InboxRoom{Seq: 11, N: 8, Last: "a", Lead: history.Lead("x #1 "), Unread: 3, Mentions: 2, At: 11},
		},
		{
			event: "me:mention", argument: `{"useq":2,` + in + `,"message":{"seq":8}}`,
			want: history.InboxRoom{Seq: 11, N: 8, Last: "a", Lead: history.Lead("x #1 "), Unread: 3, Mentions: 2, At: 11},
		},
		{
			event: "room:activity", argument: `{` + in + `,"seq":14,"n":10,"last":{"id":"b","preview":"","deletedAt":"now"}}`,
			want: history.InboxRoom{Seq: 14, N: 10, Last: "b", Lead: history.Lead(""), Deleted: true, Unread: 5, Mentions: 2, At: 11},
		},
		{
			event: "room:activity", argument: `{` + in + `,"seq":13,"n":9,"last":{"id":"c","preview":""}}`,
			want: history.InboxRoom{Seq: 14, N: 10, Last: "b", Lead: history.Lead(""), Deleted: true, Unread: 5, Mentions: 2, At: 11},
		},
		{
			event: "me:marker", argument: `{"useq":5,` + in + `,"seq":13,"n":9,"mentions":0,"at":14}`,
			want: history.InboxRoom{Seq: 14, N: 10, Last: "b", Lead: history.Lead(""), Deleted: true, Unread: 1, At: 14},
		},
		{event: "me:room-removed", argument: `{"useq":6,` + in + `}`, gone: true},
		{event: "room:activity", argument: `{` + in + `,"seq":15,"n":11}`, gone: true},
		{event: "me:room-added", argument: `{"useq":7,"room":{` + in + `}}`},
		{event: "room:activity", argument: `{` + in + `,"seq":16,"n":12}`, want: history.InboxRoom{Seq: 16, N: 12, Unread: 12}},
	} {
		b.event(sioclient.Message{Name: step.event, Args: []json.RawMessage{json.RawMessage(step.argument)}})
		b.show(false)
		rooms := b.shown[n].Rooms
		if step.want.Room = index; step.gone && len(rooms) > 0 || !step.gone && (len(rooms) != 1 || rooms[0] != step.want) {
			t.Errorf("after %s %s it shows %+v, want %+v, gone %t", step.event, step.argument, rooms, step.want, step.gone)
		}
	}
	if failed := l.Status().Failed; len(failed) > 0 {
		t.Errorf("failures %v", failed)
	}
	others := slices.IndexFunc(l.plan.rooms, func(id string) bool { return !l.plan.isMember(i, l.roomByID[id]) })
	id, _ := json.Marshal(l.plan.rooms[others])
	b.event(sioclient.Message{Name: "room:activity", Args: []json.RawMessage{json.RawMessage(`{"roomId":` + string(id) + `,"seq":1}`)}})
	if failed := l.Status().Failed; failed["stray:activity of another room"] != 1 {
		t.Errorf("activity of a room of others: %v, want it noted", failed)
	}
}
