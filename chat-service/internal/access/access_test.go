package access

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// restriction is what a user is kept from.
type restriction struct {
	name          string
	banned, muted time.Duration // from now; 0 = not, more than a year = without end
}

func restrictions() []restriction {
	return []restriction{
		{name: "free"},
		{name: "banned", banned: time.Hour},
		{name: "banned for ever", banned: forever},
		{name: "ban over", banned: -time.Second},
		{name: "muted", muted: time.Hour},
		{name: "muted for ever", muted: forever},
		{name: "mute over", muted: -time.Second},
	}
}

const forever = 10000 * time.Hour

func (r restriction) at(now time.Time) (banned, muted time.Time) {
	end := func(d time.Duration) time.Time {
		if d == forever {
			return Forever()
		} else if d == 0 {
			return time.Time{}
		}
		return now.Add(d)
	}
	return end(r.banned), end(r.muted)
}

// visitor is who asks.
type visitor struct {
	role    Role // "" = no member
	byToken bool
	granted Rights
}

// expected is the table of product rules in its own words, for every act.
func expected(kind Kind, v visitor, r restriction, act Act) string {
	member := v.role != "" && (!v.byToken || v.granted&MayJoin != 0)
	switch {
	case kind == "" || kind == Deleted:
		return "not_found"
	case v.granted == Everything:
		return "ok"
	case r.banned > 0:
		return "forbidden banned"
	case member && says(act) && r.muted > 0 && kind == Direct: // nobody is a moderator there
		return "forbidden blocked"
	case member && says(act) && r.muted > 0:
		return "forbidden muted"
	case member && says(act) && v.byToken && v.granted&MaySend == 0:
		return "forbidden not_allowed"
	case member && act == Moderate && (v.role == RoleMember || v.role == RoleGuest), member && act == Own && v.role != RoleOwner:
		return "forbidden not_allowed"
	case member:
		return "ok"
	case act == Read && v.granted&MayRead != 0, act == Look && v.granted != 0, act == Enter && v.granted&MayJoin != 0:
		return "ok"
	case kind != Public && v.granted == 0:
		return "not_found"
	case act == Enter && kind != Public:
		return "forbidden not_allowed"
	case act == Enter, act == Look:
		return "ok"
	}
	return "forbidden"
}

// says tells acts that nobody does who is muted.
func says(act Act) bool { return act == Speak || act == React }

// visitors are all who may ask.
func visitors() (all []visitor) {
	for granted := range MaySend << 1 {
		for _, role := range []Role{"", RoleGuest, RoleMember, RoleModerator, RoleOwner} {
			all = append(all, visitor{role, false, granted})
		}
		all = append(all, visitor{RoleMember, true, granted}, visitor{RoleGuest, true, granted})
	}
	return append(all, visitor{"", false, Everything})
}

// TestAccess tries kinds × roles × tokens × restrictions × acts.
func TestAccess(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, kind := range []Kind{"", Public, Private, Direct, Deleted} {
		for _, v := range visitors() {
			for _, r := range restrictions() {
				if kind == "" && v.role != "" {
					continue
				}
				name := fmt.Sprintf("%q, %+v, %s", kind, v, r.name)
				banned, muted := r.at(now)
				s := Standing{
					Exists: kind != "", Kind: kind, Member: v.role != "", Role: v.role, ByToken: v.byToken, Granted: v.granted,
					BannedUntil: banned, MutedUntil: muted,
				}
				for act := Look; act <= Own; act++ {
					err := s.Refuse(act, now)
					if got, want := faulttest.Word(err), expected(kind, v, r, act); got != want {
						t.Errorf("%s: Refuse(%v) = %s, want %s", name, act, got, want)
					}
					checkUntil(t, name, err, now.Add(r.banned+r.muted), r.banned == forever || r.muted == forever)
				}
			}
		}
	}
}

// checkUntil fails unless a refusal for a while says until when.
func checkUntil(t *testing.T, name string, err error, end time.Time, endless bool) {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Reason != fault.ReasonBanned && f.Reason != fault.ReasonMuted {
		return
	}
	if endless && !f.Until.IsZero() || !endless && !f.Until.Equal(end) {
		t.Errorf("%s: until %v, want %v, endless %v", name, f.Until, end, endless)
	}
}

// TestPrivateRoomLooksLikeNone: a stranger reads the same words.
func TestPrivateRoomLooksLikeNone(t *testing.T) {
	for act := Look; act <= Own; act++ {
		hidden, none := Standing{Exists: true, Kind: Private}, Standing{}
		if got, want := hidden.Refuse(act, time.Now()), none.Refuse(act, time.Now()); !reflect.DeepEqual(got, want) {
			t.Errorf("act %v in a private room = %v, want %v as in none", act, got, want)
		}
	}
}

// TestSettingsAndArchive: what the room itself allows, for every kind, role and act.
func TestSettingsAndArchive(t *testing.T) {
	for _, kind := range []Kind{Public, Private} {
		for _, role := range []Role{"", RoleGuest, RoleMember, RoleModerator, RoleOwner} {
			for _, send := range []Role{"", RoleMember, RoleModerator, RoleOwner} {
				for _, archived := range []bool{false, true} {
					s := Standing{Exists: true, Kind: kind, Member: role != "", Role: role, Send: send, Archived: archived}
					for act := Look; act <= Own; act++ {
						want := expected(kind, visitor{role: role}, restriction{}, act)
						switch {
						case archived && (says(act) && role != "" || act == Enter && role == "" && kind == Public):
							want = "forbidden archived"
						case act == Speak && role != "" && rank(send) > rank(role):
							want = "forbidden not_allowed"
						}
						if got := faulttest.Word(s.Refuse(act, time.Now())); got != want {
							t.Errorf("%s, %q, send %q, archived %v: Refuse(%v) = %s, want %s", kind, role, send, archived, act, got, want)
						}
					}
				}
			}
		}
	}
}

// rank says who may speak where a role is needed for it: a guest may where a member may.
func rank(r Role) int {
	if r == RoleGuest {
		r = RoleMember
	}
	return slices.Index([]Role{"", RoleMember, RoleModerator, RoleOwner}, r)
}

// TestRolesThatAreGiven: a guest's is none of them.
func TestRolesThatAreGiven(t *testing.T) {
	for role, want := range map[Role]bool{"": false, "king": false, RoleGuest: false, RoleMember: true, RoleModerator: true, RoleOwner: true} {
		if role.Valid() != want {
			t.Errorf("%q.Valid() = %v, want %v", role, !want, want)
		}
	}
	if !RoleMember.Above(RoleGuest) || RoleGuest.Above(RoleMember) {
		t.Error("a guest is not below a member")
	}
}
