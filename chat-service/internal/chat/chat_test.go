package chat_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

func TestMessageIDCarriesSeq(t *testing.T) {
	at := time.UnixMilli(1_800_000_000_123)
	for _, seq := range []uint64{1, 255, 1 << 32, 1<<40 - 1} {
		for _, random := range []uint64{0, ^uint64(0), 0x0123456789abcdef} {
			id := chat.NewMessageID(at, seq, random)
			sec, nsec := id.Time().UnixTime()
			if chat.SeqOf(id) != seq || id.Version() != 7 || id.Variant() != uuid.RFC4122 || !time.Unix(sec, nsec).Equal(at) {
				t.Errorf("NewMessageID(%v, %d) = %s: seq %d, version %d, time %v", at, seq, id, chat.SeqOf(id), id.Version(), time.Unix(sec, nsec))
			}
			if back, err := chat.ParseMessageID(id.String()); err != nil || back != id {
				t.Errorf("ParseMessageID(%s) = %s, %v", id, back, err)
			}
		}
	}
}

func TestParseRoomID(t *testing.T) {
	for id, ok := range map[string]bool{
		"general": true, "with space": true, "日本 ☂ *.>$": true, strings.Repeat("ü", 128): true, "no\u00a0break": true,
		"": false, strings.Repeat("ü", 129): false, "a\x00": false, "line\nbreak": false, "\x7f": false, "bad\xff": false, "\u200b": false,
	} {
		if _, err := chat.ParseRoomID(id); (err == nil) != ok || err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("ParseRoomID(%q) = %v, want ok %v", id, err, ok)
		}
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

// TestInviteOf: the same salt and key make the same invite, and no other ones.
func TestInviteOf(t *testing.T) {
	one, two := chat.InviteSalt{1}, chat.InviteSalt{2}
	first := chat.InviteOf(one, "k")
	if first != chat.InviteOf(one, "k") || first == chat.InviteOf(two, "k") || first == chat.InviteOf(one, "l") || len(first) != 32 {
		t.Errorf("InviteOf = %q", first)
	}
}

// TestInviteID: what moderators see of an invite names it, and is not the invite.
func TestInviteID(t *testing.T) {
	hash := chat.HashInvite("secret")
	if got, err := chat.ParseInviteID("inviteId", hash.ID()); got != hash || err != nil || chat.HashInvite(hash.ID()) == hash {
		t.Errorf("ParseInviteID(%s) = %v, %v", hash.ID(), got, err)
	}
	for _, bad := range []string{"", "secret", hash.ID() + "A", hash.ID()[1:], hash.ID()[:42] + "_", hash.ID() + "=", hash.ID()[:42] + "\n"} {
		if _, err := chat.ParseInviteID("after", bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("ParseInviteID(%q) = %v, want invalid", bad, err)
		}
	}
}

func TestLogPageMisses(t *testing.T) {
	for _, test := range []struct {
		page        chat.LogPage
		head, first uint64
		want        bool
	}{
		{chat.LogPage{After: 3}, 3, 0, false},
		{chat.LogPage{After: 0}, 0, 0, false},
		{chat.LogPage{After: 3}, 5, 4, false},
		{chat.LogPage{After: 3}, 5, 2, false}, // what was found stands for 2 to 4 as well
		{chat.LogPage{After: 4}, 3, 0, true},
		{chat.LogPage{After: 3}, 2000, 1001, true},
		{chat.LogPage{After: 3, To: 7}, 2000, 0, true},
	} {
		if got := test.page.Misses(test.head, test.first); got != test.want {
			t.Errorf("%+v of a log at %d, found from %d: misses = %v, want %v", test.page, test.head, test.first, got, test.want)
		}
	}
}
