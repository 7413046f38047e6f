package rules_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// TestDecideAsksAccess tries kinds × roles × bans × mutes: a write is refused as package access says, and changes nothing then.
func TestDecideAsksAccess(t *testing.T) {
	at := time.UnixMilli(1_800_000_000_000).UTC()
	ends := []time.Time{{}, at.Add(-time.Second), at.Add(time.Hour), access.Forever()}
	for _, kind := range []access.Kind{"", access.Public, access.Private, access.Direct} {
		for _, role := range []access.Role{"", access.RoleMember, access.RoleModerator, access.RoleOwner} {
			for _, banned := range ends {
				for _, muted := range ends {
					if kind == "" && role != "" {
						continue
					}
					decideIn(t, at, access.Standing{
						Exists: kind != "", Kind: kind, Member: role != "", Role: role, BannedUntil: banned, MutedUntil: muted,
					})
				}
			}
		}
	}
}

// decideIn gives the commands of ann, who stands to room r so, to Decide: each on its own, with nothing before.
func decideIn(t *testing.T, at time.Time, s access.Standing) {
	t.Helper()
	state := rulestest.World{}.State()
	state.At = at
	if s.Exists {
		room := rules.Room{Seq: 10, Kind: s.Kind, Owner: "someone"}
		if s.Role == access.RoleOwner {
			room.Owner = "ann"
		}
		state.Rooms["r"] = room
	}
	m := rules.Member{Is: s.Member, Role: s.Role, BannedUntil: s.BannedUntil, MutedUntil: s.MutedUntil}
	if s.Role == access.RoleOwner {
		m.Role = access.RoleMember // the owner of the room is one whatever the membership says
	}
	state.Members[chat.Membership{Room: "r", User: "ann"}] = m
	for _, c := range []struct {
		what    string
		command rules.Command
		want    string
	}{
		{"Send", rulestest.Send("ann", ""), faulttest.Word(s.Refuse(access.Speak, at))},
		{"Join", rulestest.Join("ann"), faulttest.Word(s.Refuse(access.Enter, at))},
		{"Create", rules.Create{Origin: rulestest.By("ann"), New: chat.NewRoom{Kind: access.Private}}, "conflict exists"},
	} {
		changes, outcomes := rules.Decide(state, []rules.Command{c.command})
		if diff := cmp.Diff(c.want, faulttest.Word(outcomes[0].Err)); diff != "" {
			t.Errorf("%+v: %s (-want +got):\n%s", s, c.what, diff)
		}
		if outcomes[0].Err != nil && !changes.Empty() {
			t.Errorf("%+v: a refused %s changed %+v", s, c.what, changes)
		}
	}
}
