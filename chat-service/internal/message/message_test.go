package message_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/message"
)

func TestPreview(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "short": "short", "two\r\nlines\tand\u2028more": "two  lines and more", strings.Repeat("ü", 141): strings.Repeat("ü", 140),
		strings.Repeat("x", 140): strings.Repeat("x", 140),
	} {
		if got := message.Preview(text); got != want {
			t.Errorf("Preview(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestCounts(t *testing.T) {
	var before, c message.Counts
	for _, step := range []struct {
		key  string
		by   int
		want message.Counts
	}{
		{"a", 1, message.Counts{{"a", 1}}},
		{"b", 1, message.Counts{{"a", 1}, {"b", 1}}},
		{"a", 1, message.Counts{{"a", 2}, {"b", 1}}},
		{"b", -1, message.Counts{{"a", 2}}},
		{"b", 1, message.Counts{{"a", 2}, {"b", 1}}},
		{"a", -2, message.Counts{{"b", 1}}},
		{"c", -1, message.Counts{{"b", 1}}},
	} {
		before = append(message.Counts(nil), c...)
		next := c.Add(step.key, step.by)
		if diff := cmp.Diff(step.want, next); diff != "" {
			t.Errorf("%d of %q (-want +got):\n%s", step.by, step.key, diff)
		}
		if len(before) > 0 && !cmp.Equal(before, c) {
			t.Errorf("%v became %v", before, c)
		}
		c = next
	}
}

func TestCheckKey(t *testing.T) {
	for key, ok := range map[string]bool{
		"👍": true, ":+1:": true, "👩‍👩‍👧": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a\nb": false, "\x00": false, "\xff": false,
	} {
		if err := message.CheckKey(key); (err == nil) != ok {
			t.Errorf("CheckKey(%q) = %v, want ok %v", key, err, ok)
		}
	}
}
