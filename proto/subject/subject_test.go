package subject_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/starling-chat/starling/proto/limits"
	"github.com/starling-chat/starling/proto/subject"
)

// oneSubject is what no outside input may break out of: tokens without wildcards, spaces and empty ones between.
var oneSubject = regexp.MustCompile(`^[a-z$A-Z0-9]+(\.[A-Za-z0-9_=-]+)+$`)

// FuzzTokens: two ids never share a subject, and none reaches a subject of another kind or more than one.
func FuzzTokens(f *testing.F) {
	long := strings.Repeat("a", 49)
	for _, pair := range [][2]string{
		{"", "b"},
		{"a", "b"},
		{"a.b", "a"},
		{"*", ">"},
		{"a b", "a\tb"},
		{"bYSBi", "a b"},
		{"=YSBi", "a b"},
		{"pa", "a"},
		{long, long + "a"},
		{"$JS.API.>", "_INBOX.x"},
		{"星", "\xe6\x98\x9f"},
		{"\xff", "\xfe"},
		{"A", "a"},
		{"=", "=="},
		{"h" + long, long},
		{"root", "/"},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		spellings := map[string]func(id string) string{
			"Room": subject.Room, "RoomLog": subject.RoomLog, "PresenceSnapshot": subject.PresenceSnapshot, "Engine": subject.Engine,
			"SessionState": subject.SessionState, "SessionEnd": subject.SessionEnd, "Broadcast": subject.Broadcast,
			"GatewayAlive": func(id string) string { return subject.GatewayAlive(id, 1) },
		}
		for name, spell := range spellings {
			one, other := spell(a), spell(b)
			if !oneSubject.MatchString(one) || strings.Count(one, ".") != strings.Count(spell("x"), ".") {
				t.Errorf("%s(%q) = %q, want one subject of plain tokens", name, a, one)
			}
			same := a == b
			if name == "Broadcast" { // a namespace is the same with and without its slash; / is the root
				same = strings.TrimPrefix(a, "/") == strings.TrimPrefix(b, "/")
			} else if len(one) > len(spell("x"))+63 { // "px" is the shortest token, 65 bytes the longest
				t.Errorf("%s(%q) has %d bytes, want at most 64 beyond the shortest", name, a, len(one))
			}
			if same != (one == other) {
				t.Errorf("%s(%q) = %s, %s(%q) = %s, want the same only for the same", name, a, one, name, b, other)
			}
		}
		if shard := subject.UserShard(a); shard < 0 || shard >= subject.UserShards || subject.User(a) != subject.UserShardSubject(shard) {
			t.Errorf("UserShard(%q) = %d, User = %s", a, shard, subject.User(a))
		}
	})
}

// FuzzClientEvent: two events never share a subject, and the subject of none reaches another's pattern.
func FuzzClientEvent(f *testing.F) {
	for _, e := range [][4]string{
		{"/", "message:send", "/chat", "message:send"},
		{"/", "a:b", "/", "a.b"},
		{"/", "a:", "/", "a"},
		{"/", "::", "/", ":"},
		{"/", ">", "/", "*"},
		{"/root", "a", "/", "a"},
		{"/chat", "message", "/", "chat:message"},
		{"/", "=YQ", "/", "a"},
		{"/a", "a b", "/a", "a\u00a0b"},
	} {
		f.Add(e[0], e[1], e[2], e[3])
	}
	f.Fuzz(func(t *testing.T, ns1, event1, ns2, event2 string) {
		s1, err1 := subject.ClientEvent(ns1, event1)
		s2, err2 := subject.ClientEvent(ns2, event2)
		for _, c := range []struct {
			event string
			err   error
		}{{event1, err1}, {event2, err2}} {
			bad := c.event == "" || len(c.event) > subject.MaxEventName || strings.Count(c.event, ":") > 7
			if errors.Is(c.err, subject.ErrEventName) != bad || (c.err != nil) != bad {
				t.Errorf("ClientEvent(%q) = %v, want an error: %v", c.event, c.err, bad)
			}
		}
		if err1 != nil || err2 != nil {
			return
		}
		if !oneSubject.MatchString(s1) || !strings.HasPrefix(s1, "client.v1.") {
			t.Errorf("ClientEvent(%q, %q) = %q, want one subject of plain tokens", ns1, event1, s1)
		}
		same := strings.TrimPrefix(ns1, "/") == strings.TrimPrefix(ns2, "/") && event1 == event2
		if same != (s1 == s2) {
			t.Errorf("ClientEvent(%q, %q) = %s, ClientEvent(%q, %q) = %s, want the same only for the same", ns1, event1, s1, ns2, event2, s2)
		}
		anywhere, err := subject.ClientEventPattern("*", event2)
		if err != nil || subject.Match(anywhere, s1) != (event1 == event2) {
			t.Errorf("Match(%s, %s) = %v, %v, want it for the same event only", anywhere, s1, subject.Match(anywhere, s1), err)
		}
		one, err := subject.ClientEventPattern(ns2, event2)
		if ns2 != "*" && (err != nil || subject.Match(one, s1) != same) {
			t.Errorf("Match(%s, %s) = %v, %v, want %v", one, s1, subject.Match(one, s1), err, same)
		}
	})
}

// TestLongestIDsMakeShortSubjects: the bounds of ids are far from those of NATS, whose control line has 4,096 bytes.
func TestLongestIDsMakeShortSubjects(t *testing.T) {
	room, user := strings.Repeat("𠮷", limits.RoomIDChars), strings.Repeat("𠮷", limits.UserIDChars)
	event := strings.Repeat("*:", 7) + strings.Repeat("*", subject.MaxEventName-14)
	for _, s := range []string{subject.Room(room), subject.RoomLog(room), subject.User(user), clientEvent("/", event)} {
		if !oneSubject.MatchString(s) || len(s) > 255 {
			t.Errorf("subject %s has %d bytes, want at most 255", s, len(s))
		}
	}
}

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true},
		{"a.*", "a.b", true},
		{"*.b", "a.b", true},
		{"a.*", "a.b.c", false},
		{"a.b.*", "a.b", false},
		{"a", "a.b", false},
		{"*", "a", true},
		{"a.b", "a.*", false},
	} {
		if got := subject.Match(tc.pattern, tc.subject); got != tc.want {
			t.Errorf("Match(%s, %s) = %v, want %v", tc.pattern, tc.subject, got, tc.want)
		}
	}
}
