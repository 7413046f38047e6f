package session_test

import (
	"strings"
	"testing"

	"github.com/starling-chat/starling/gateway/internal/session"
)

func TestOwner(t *testing.T) {
	key := []byte("the key of all gateways")
	for _, gateway := range []string{"g1", "gateway-0", "a.b", "x"} {
		sids := session.NewSIDs(gateway, key)
		other := session.NewSIDs("other", key)
		sid := sids.New()
		if got, ok := other.Owner(sid); got != gateway || !ok {
			t.Errorf("Owner(%q) at another gateway = %q, %v, want %q, true", sid, got, ok, gateway)
		}
		if got, ok := session.NewSIDs(gateway, []byte("another key")).Owner(sid); ok {
			t.Errorf("Owner(%q) with another key = %q, true, want not ok", sid, got)
		}
		if sid == sids.New() {
			t.Errorf("New() = %q twice", sid)
		}
	}
}

// TestKeyOfSIDsIsReplaced: while gateways go over from one key to another, each knows the ids that the others make.
func TestKeyOfSIDsIsReplaced(t *testing.T) {
	before, after := []byte("the key of before"), []byte("the key of afterwards")
	first, second := session.NewSIDs("g1", before, after), session.NewSIDs("g2", after, before)
	for _, sid := range []string{first.New(), second.New()} {
		for _, at := range []*session.SIDs{first, second} {
			if _, ok := at.Owner(sid); !ok {
				t.Errorf("%s is not known at %s", sid, at.Gateway())
			}
		}
	}
	if _, ok := session.NewSIDs("g3", after).Owner(first.New()); ok {
		t.Error("an id of before is known when the key of before is not")
	}
}

// TestForgedSID changes every character of a sid: none of them may be free.
func TestForgedSID(t *testing.T) {
	sids := session.NewSIDs("g1", []byte("key"))
	sid := sids.New()
	for i := range sid {
		for _, c := range []byte{'A', 'B', '.', '_', 0, sid[i] ^ 1} {
			if forged := sid[:i] + string(rune(c)) + sid[i+1:]; forged != sid {
				if got, ok := sids.Owner(forged); ok {
					t.Errorf("Owner(%q) = %q, true, want not ok: made of %q", forged, got, sid)
				}
			}
		}
		if got, ok := sids.Owner(sid[:i]); ok {
			t.Errorf("Owner(%q) = %q, true, want not ok: a part of %q", sid[:i], got, sid)
		}
	}
	random, _, _ := strings.Cut(sid, ".")
	tag := sid[strings.LastIndexByte(sid, '.'):]
	for _, forged := range []string{
		random + ".g2" + tag, random + ".g1.g2" + tag, random + tag, tag, "." + sid, sid + ".", sid + "=", sid + sid,
		strings.ToUpper(sid), random + ".g1.", "", ".", "..", "...",
		strings.Repeat("a", 1<<20), strings.Repeat(".", 1<<20), sid + strings.Repeat("a", 1<<20),
	} {
		if got, ok := sids.Owner(forged); ok {
			t.Errorf("Owner(%.80q) = %q, true, want not ok", forged, got)
		}
	}
}

// FuzzOwner: without the key nothing but a gateway's own sids is taken.
func FuzzOwner(f *testing.F) {
	sids := session.NewSIDs("g1", []byte("key"))
	f.Add("", "g1")
	f.Add("..", "g1")
	f.Add(session.NewSIDs("g1", []byte("another key")).New(), "g2")
	f.Add("AAAAAAAAAAAAAAAAAAAA.g1.AAAAAAAAAAAA", "a.b")
	f.Fuzz(func(t *testing.T, sid, gateway string) {
		if got, ok := sids.Owner(sid); ok {
			t.Errorf("Owner(%q) = %q, true, want not ok", sid, got)
		}
		own := session.NewSIDs(gateway, []byte("key")).New()
		got, ok := sids.Owner(own)
		if ok && got != gateway {
			t.Errorf("Owner(%q) = %q, want %q", own, got, gateway)
		}
		if len(gateway) <= 64 && !ok {
			t.Errorf("Owner(%q) is not ok, want %q", own, gateway)
		}
	})
}
