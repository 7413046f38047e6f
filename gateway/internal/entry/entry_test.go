package entry_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/gateway/internal/entry"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
)

func TestRoom(t *testing.T) {
	for args, want := range map[string]string{
		`["r"]`: "r", `["r",1]`: "r", `[{"roomId":"r"}]`: "r", `[{"since":1,"roomId":"ä.*>"}]`: "ä.*>", `[ { "roomId" : "r" } ]`: "r",
		`["\u00e4"]`: "ä", `["` + strings.Repeat("x", limits.RoomIDChars) + `"]`: strings.Repeat("x", limits.RoomIDChars),
		`[]`: "", `[""]`: "", `[7]`: "", `[null]`: "", `[["r"]]`: "", `[{}]`: "", `[{"roomId":7}]`: "", `[{"roomId":{"roomId":"r"}}]`: "",
		`["` + strings.Repeat("x", limits.RoomIDChars+1) + `"]`: "",
	} {
		if got, ok := entry.Room([]byte(args)); ok != (want != "") || ok && got != want {
			t.Errorf("Room(%.40s) = %.40q, %v, want %.40q", args, got, ok, want)
		}
	}
	if _, ok := entry.Room([]byte("\xff")); ok {
		t.Error("Room of garbage is ok, want not")
	}
}

func TestRooms(t *testing.T) {
	many := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"roomId":"r%d"}`, i))
		}
		return `[{"rooms":[` + strings.Join(list, ",") + `]}]`
	}
	for args, want := range map[string]string{
		`[{"rooms":[{"roomId":"a","since":3}, {"roomId":"b"}]}]`: `a [{"roomId":"a","since":3}] b [{"roomId":"b"}]`,
		`[]`: "invalid", `["a"]`: "invalid", `[{}]`: "invalid", `[{"rooms":{}}]`: "invalid", `[{"rooms":[]}]`: "invalid", `[{"rooms":["a"]}]`: "invalid",
		`[{"rooms":[null]}]`: "invalid", `[{"rooms":[{}]}]`: "invalid", `[{"rooms":[{"roomId":7}]}]`: "invalid", `[{"rooms":[{"roomId":""}]}]`: "invalid",
		`[{"rooms":[{"roomId":"a"},{"roomId":"\u0061"}]}]`: "invalid",
		many(entry.MaxRooms + 1):                           "too_large",
	} {
		got := ""
		rooms, err := entry.Rooms([]byte(args))
		for _, room := range rooms {
			got += " " + room.Room + " " + string(room.Args)
		}
		if err != nil {
			got = " " + string(fault.KindOf(err))
		}
		if strings.TrimSpace(got) != want {
			t.Errorf("Rooms(%.60s) = %q, want %q", args, got, want)
		}
	}
	if rooms, err := entry.Rooms([]byte(many(entry.MaxRooms))); err != nil || len(rooms) != entry.MaxRooms {
		t.Errorf("Rooms = %d rooms, %v, want %d", len(rooms), err, entry.MaxRooms)
	}
}

// TestTurn: the history of one more room waits for the client to take those before, and for its rate, as long as there is time.
func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := new(sessiontest.Conn)
		tokens := 0
		take := func() *fault.Error {
			if tokens == 0 {
				return fault.Retry(fault.RateLimited, "Too many events", 20*time.Millisecond)
			}
			tokens--
			return nil
		}
		try := func(want fault.Kind) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := entry.Turn(ctx, conn, take); err == nil && want != "" || err != nil && fault.KindOf(err) != want {
				t.Errorf("Turn = %v, want %q", err, want)
			}
		}
		try(fault.RateLimited)
		tokens = 1
		try("")
		conn.Waiting.Store(1 << 20)
		tokens = 1
		try(fault.Unavailable)
		if tokens != 1 {
			t.Error("a token was taken for a room that had no turn")
		}
		go func() {
			time.Sleep(time.Second)
			conn.Waiting.Store(0)
		}()
		try("")
	})
}

func TestAck(t *testing.T) {
	rooms := []entry.Wanted{{Room: "a"}, {Room: `b"`}, {Room: "c"}}
	answers := [][]byte{[]byte(`[{"ok":true,"roomId":"a","seq":3}]`), []byte(`[{"ok":false,"error":{"code":"forbidden"}}]`), nil}
	want := `[{"ok":true,"rooms":[{"roomId":"a","ok":true,"seq":3},{"roomId":"b\"","ok":false,"error":{"code":"forbidden"}},{"roomId":"c"}]}]`
	if got := string(entry.Ack(rooms, answers)); got != want {
		t.Errorf("Ack = %s, want %s", got, want)
	}
}
