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
