package access

import "strings"

// Rights are what there is beside a membership: what the token of a user opens, or that no user asks at all.
type Rights uint8

// The rights. Those of tokens give and never take away; docs/events.md, "Rooms that a token opens", has what each is good for.
const (
	MayJoin Rights = 1 << iota
	MayRead
	MaySend
	Everything // another backend asks as itself
)

// has tells whether all of others are among the rights.
func (r Rights) has(others Rights) bool { return r&others == others }

// MayReadWithout tells that a room may be read without a membership, or with one that came by a token.
func (r Rights) MayReadWithout() bool { return r&(MayRead|MayJoin|Everything) != 0 }

// MayCount tells that a membership which came by a token counts.
func (r Rights) MayCount() bool { return r.has(MayJoin) }

// RightsOf reads the words of a token; one that is not known gives nothing.
func RightsOf(words []string) (r Rights) {
	for _, word := range words {
		switch word {
		case "join":
			r |= MayJoin
		case "read":
			r |= MayRead
		case "send":
			r |= MaySend
		}
	}
	return r
}

// Grant opens rooms to whoever shows the token that has it.
type Grant struct {
	Match string // a room's id, in which each * stands for any characters, none included
	Can   Rights
}

// Grants are those of one token.
type Grants []Grant

// For gives what the grants together open of a room.
func (g Grants) For(room string) (r Rights) {
	for _, grant := range g {
		if matches(grant.Match, room) {
			r |= grant.Can
		}
	}
	return r
}

// matches tells whether a pattern stands for a text. What lies between two stars is looked for from the left, and only once: were it
// found further right, what follows would have less room. So the time grows with the lengths of both, whatever the pattern.
func matches(pattern, s string) bool {
	part, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, found := strings.CutPrefix(s, part)
	for found {
		if part, rest, star = strings.Cut(rest, "*"); !star {
			return strings.HasSuffix(s, part)
		}
		_, s, found = strings.Cut(s, part)
	}
	return false
}
