package usecases

import (
	"strings"
	"testing"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

func TestViewFits(t *testing.T) {
	for _, forward := range []bool{true, false} {
		v := View{}
		for seq := range uint64(100) {
			v.Messages = append(v.Messages, chat.Message{Seq: seq + 1, Content: strings.Repeat("\x01", 16<<10)})
		}
		v.fit(maxPageWeight, forward)
		if n := len(v.Messages); n != 6 || !v.HasMore {
			t.Errorf("fit(forward %v) = %d messages, more %v, want 6 and more", forward, n, v.HasMore)
		}
		want := uint64(95)
		if forward {
			want = 1
		}
		if got := v.Messages[0].Seq; got != want {
			t.Errorf("fit(forward %v) begins with %d, want %d", forward, got, want)
		}
		v.fit(1, forward)
		if len(v.Messages) != 1 {
			t.Errorf("fit(1) = %d messages, want one in any case", len(v.Messages))
		}
	}
}
