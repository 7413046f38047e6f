package limits

import (
	"strings"
	"testing"
)

func TestIDs(t *testing.T) {
	tests := map[string]struct {
		id         string
		user, room bool
	}{
		"empty":                       {"", false, false},
		"a letter":                    {"a", true, true},
		"the System":                  {"system", false, true},
		"like the System":             {"System", true, true},
		"words":                       {"Ann Smith ☂ #1", true, true},
		"128 letters":                 {strings.Repeat("a", 128), true, true},
		"129 letters":                 {strings.Repeat("a", 129), false, false},
		"128 of three bytes":          {strings.Repeat("星", 128), true, true},
		"129 of three bytes":          {strings.Repeat("星", 129), false, false},
		"128 of four bytes":           {strings.Repeat("𠮷", 128), true, true},
		"129 of four bytes":           {strings.Repeat("𠮷", 129), false, false},
		"a control character":         {"a\u0007", false, false},
		"NUL":                         {"a\x00", false, false},
		"a line break":                {"a\n", false, false},
		"no UTF-8":                    {"a\xff", false, false},
		"half a character":            {"\xe6\x98", false, false},
		"U+FFFD itself":               {"\ufffd", true, true},
		"a space of no width":         {"a\u200b", false, false},
		"a space that does not break": {"a\u00a0b", false, true},
	}
	for what, test := range tests {
		if got := ValidUserID(test.id); got != test.user {
			t.Errorf("ValidUserID(%s) = %v, want %v", what, got, test.user)
		}
		if got := ValidRoomID(test.id); got != test.room {
			t.Errorf("ValidRoomID(%s) = %v, want %v", what, got, test.room)
		}
	}
}

// TestValidDoesNotAllocate: ids are checked for every event.
func TestValidDoesNotAllocate(t *testing.T) {
	id := strings.Repeat("星", UserIDChars)
	if n := testing.AllocsPerRun(100, func() { _ = ValidUserID(id) && ValidRoomID(id) }); n != 0 {
		t.Errorf("checking an id allocates %v times, want 0", n)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	for key, want := range map[string]bool{
		"": false, "k": true, "8e03978e-40d5-43dd-bc93-6894a57f9324": true, "two words ☂": true, strings.Repeat("星", 64): true,
		strings.Repeat("a", 65): false, "a\n": false, "a\x00": false, "a\xff": false,
	} {
		if got := ValidIdempotencyKey(key); got != want {
			t.Errorf("ValidIdempotencyKey(%q) = %v, want %v", key, got, want)
		}
	}
}
