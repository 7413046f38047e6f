package access

import (
	"regexp"
	"strings"
	"testing"
)

func TestMatches(t *testing.T) {
	for _, tc := range []struct {
		pattern, room string
		want          bool
	}{
		{"lobby", "lobby", true},
		{"lobby", "Lobby", false},
		{"lobby", "lobby2", false},
		{"order-42-*", "order-42-kitchen", true},
		{"order-42-*", "order-42-", true},
		{"order-42-*", "order-42", false},
		{"order-42-*", "order-421-kitchen", false},
		{"order-42-*", "my-order-42-kitchen", false},
		{"*", "anything/at all ü", true},
		{"*-staff", "order-42-staff", true},
		{"*-staff", "order-42-staff-2", false},
		{"acme/*/lobby", "acme/north/2/lobby", true},
		{"acme/*/lobby", "acme/lobby", false},
		{"a*b*a", "aba", true},
		{"a*b*a", "ab", false},
		{"a*ba*a", "abaa", true},
		{"a*a", "a", false},
		{"a**a", "aa", true},
		{"*a*", "a", true},
		{"*ab*bc*", "abc", false},
		{"*ab*bc*", "abbc", true},
		{"é*", "eté", false},
		{"été*", "étéx", true},
		{"a?c", "abc", false},
		{"[a]*", "a", false},
		{"*", "*", true},
		{"x*", "x*", true},
	} {
		if got := matches(tc.pattern, tc.room); got != tc.want {
			t.Errorf("matches(%q, %q) = %v, want %v", tc.pattern, tc.room, got, tc.want)
		}
	}
}

// FuzzMatches compares with a regular expression, which says the same in another way.
func FuzzMatches(f *testing.F) {
	f.Add("a*b*a", "abba")
	f.Add("*ab*bc*", "abc")
	f.Add(strings.Repeat("a*", 60)+"b", strings.Repeat("a", 128))
	f.Fuzz(func(t *testing.T, pattern, room string) {
		parts := strings.Split(pattern, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		want, err := regexp.Compile(`\A(?s:` + strings.Join(parts, ".*") + `)\z`)
		if err != nil {
			t.Skip("no regular expression")
		}
		if strings.ToValidUTF8(room, "") != room || strings.ToValidUTF8(pattern, "") != pattern {
			t.Skip("no id")
		}
		if got := matches(pattern, room); got != want.MatchString(room) {
			t.Errorf("matches(%q, %q) = %v, want %v", pattern, room, got, !got)
		}
	})
}

func TestGrants(t *testing.T) {
	g := Grants{{"order-*", RightsOf([]string{"join"})}, {"*-42", RightsOf([]string{"read", "send", "own"})}, {"lobby", RightsOf(nil)}}
	for room, want := range map[string]Rights{
		"order-1": MayJoin, "order-42": MayJoin | MayRead | MaySend, "bill-42": MayRead | MaySend, "lobby": 0, "": 0,
	} {
		if got := g.For(room); got != want {
			t.Errorf("For(%q) = %b, want %b", room, got, want)
		}
	}
	if got := Grants(nil).For("order-1"); got != 0 {
		t.Errorf("no grants open %b", got)
	}
}
