package access

import (
	"errors"
	"fmt"
	"reflect"
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

// expected is the table of product rules in its own words, for every act.
func expected(kind Kind, role Role, r restriction, act Act) string {
	member := role != ""
	switch {
	case kind == "":
		return "not_found"
	case r.banned > 0:
		return "forbidden banned"
	case member && act == Speak && r.muted > 0:
		return "forbidden muted"
	case member && act == Moderate && role == RoleMember:
		return "forbidden not_allowed"
	case member:
		return "ok"
	case kind == Private, kind == Direct:
		return "not_found"
	case act == Enter:
		return "ok"
	}
	return "forbidden"
}

// TestAccess tries kinds × roles × restrictions × acts.
func TestAccess(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, kind := range []Kind{"", Public, Private, Direct} {
		for _, role := range []Role{"", RoleMember, RoleModerator, RoleOwner} {
			for _, r := range restrictions() {
				if kind == "" && role != "" {
					continue
				}
				name := fmt.Sprintf("%q, %q, %s", kind, role, r.name)
				banned, muted := r.at(now)
				s := Standing{Exists: kind != "", Kind: kind, Member: role != "", Role: role, BannedUntil: banned, MutedUntil: muted}
				for act := Enter; act <= Moderate; act++ {
					err := s.Refuse(act, now)
					if got, want := faulttest.Word(err), expected(kind, role, r, act); got != want {
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
	for act := Enter; act <= Moderate; act++ {
		hidden, none := Standing{Exists: true, Kind: Private}, Standing{}
		if got, want := hidden.Refuse(act, time.Now()), none.Refuse(act, time.Now()); !reflect.DeepEqual(got, want) {
			t.Errorf("act %v in a private room = %v, want %v as in none", act, got, want)
		}
	}
}
