package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

func TestOwn(t *testing.T) {
	s := open(t, database(t))
	m := chat.Membership{Room: "r", User: "ann"}
	own := func(want usecases.Own) {
		t.Helper()
		got, err := s.Own(t.Context(), m)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("Own: %v (-want +got):\n%s", err, diff)
		}
	}
	outcomes, _ := commit(t, s, join("r", "ann"), send("r", "ann", "hi", ""))
	own(usecases.Own{Marker: chat.Marker{Seq: outcomes[1].Seq, N: 1}}) // it said so itself
	if _, err := s.MarkRead(t.Context(), []usecases.Receipt{{Membership: m, Message: outcomes[1].ID}}); err != nil {
		t.Fatal(err)
	}
	commit(t, s, rules.SetPrefs{Origin: by("r", "ann"), Muted: new(true)})
	_, out := commit(t, s, rules.SetPrefs{Origin: by("r", "ann"), Pinned: new(true)})
	if diff := cmp.Diff([]string{"3 me:prefs"}, told(t, out.Events)); diff != "" {
		t.Errorf("what goes out (-want +got):\n%s", diff)
	}
	own(usecases.Own{Marker: chat.Marker{Seq: outcomes[1].Seq, N: 1}, Prefs: chat.Prefs{Muted: true, Pinned: true}})
	commit(t, s, leave("r", "ann"), join("r", "ann"))
	own(usecases.Own{Marker: chat.Marker{Seq: outcomes[1].Seq, N: 1}})
}

// TestBlockAgainstOpen: of two who open a room while one of them blocks the other, nobody ends up in a room in which they may speak.
func TestBlockAgainstOpen(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	opener, blocker := writer(t, open(t, cfg), nowhere{}), writer(t, open(t, cfg), nowhere{})
	for i := range 20 {
		ann, bob := chat.UserID(fmt.Sprint("ann", i)), chat.UserID(fmt.Sprint("bob", i))
		room := chat.DirectID([]chat.UserID{ann, bob})
		var both sync.WaitGroup
		both.Go(func() {
			_, _ = opener.Do(context.Background(), rules.Open{Origin: by(room, bob), Others: []rules.Invited{{User: ann, Role: access.RoleMember}}})
		})
		both.Go(func() {
			if _, err := blocker.Do(context.Background(), rules.Block{Origin: by(room, ann), Who: bob}); err != nil {
				t.Errorf("block: %v", err)
			}
		})
		both.Wait()
		standing, _, err := s.Standing(t.Context(), chat.Membership{Room: room, User: bob})
		if err != nil || standing.Refuse(access.Speak, time.Now()) == nil {
			t.Errorf("bob may speak to ann, who blocked him: %+v, %v", standing, err)
		}
		if outcomes, _ := commit(t, s, rules.Block{Origin: by(room, ann), Who: bob, End: true}); !outcomes[0].Changed {
			t.Error("the block was not there")
		}
	}
	if n, err := s.CountBlocks(t.Context(), "ann0", 10); n != 0 || err != nil {
		t.Errorf("CountBlocks = %d, %v, want 0", n, err)
	}
}

// TestInviteIsUsedExactly: many who come at once, through several replicas, are as many as the invite says.
func TestInviteIsUsedExactly(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	const uses, guests = 7, 30
	hash := chat.HashInvite("secret")
	until := time.Now().Add(time.Hour)
	commit(t, s, rules.Create{Origin: by("r", "ann"), New: chat.NewRoom{Kind: access.Private}},
		rules.Invite{Origin: by("r", "ann"), Hash: hash, Role: access.RoleMember, Uses: uses, Until: until},
		rules.Invite{Origin: by("r", "ann"), Hash: chat.HashInvite("over"), Role: access.RoleMember, Uses: 1, Until: time.Now().Add(-time.Hour)})
	if n, err := s.CountInvites(t.Context(), "r"); n != 1 || err != nil {
		t.Errorf("CountInvites = %d, %v, want 1", n, err)
	}
	if _, ok, err := s.Invitation(t.Context(), chat.HashInvite("over")); ok || err != nil {
		t.Errorf("an invitation that is over is still there: %v, %v", ok, err)
	}
	replicas := []*usecases.Writer{writer(t, open(t, cfg), nowhere{}), writer(t, open(t, cfg), nowhere{})}
	var in atomic.Int32
	var all sync.WaitGroup
	for i := range guests {
		all.Go(func() {
			j := join("r", chat.UserID(fmt.Sprint("guest", i)))
			j.Create, j.Invite, j.Inviter = "", hash, "ann"
			if o, err := replicas[i%2].Do(context.Background(), j); err == nil && o.Changed {
				in.Add(1)
			}
		})
	}
	all.Wait()
	if in.Load() != uses {
		t.Errorf("%d came in by an invite for %d", in.Load(), uses)
	}
	if i, ok, err := s.Invitation(t.Context(), hash); ok || err != nil {
		t.Errorf("the invite is not used up: %+v, %v", i, err)
	}
}

// TestListsOfOnesOwn: blocks and invites come by pages, each once, and nobody else's among them.
func TestListsOfOnesOwn(t *testing.T) {
	s := open(t, database(t))
	block := func(user, other chat.UserID, end bool) rules.Command {
		return rules.Block{Origin: by(chat.DirectID([]chat.UserID{user, other}), user), Who: other, End: end}
	}
	began := time.Now().Add(-time.Minute)
	commit(t, s, block("ann", "dan", false), block("ann", "bob", false), block("ann", "cid", false), block("bob", "ann", false))
	commit(t, s, block("ann", "cid", true), block("ann", "eve", false))
	var users []chat.UserID
	for after := chat.UserID(""); ; {
		page, err := s.Blocks(t.Context(), "ann", after, 2)
		if err != nil || len(page) > 2 {
			t.Fatalf("Blocks after %q = %v, %v", after, page, err)
		}
		for _, b := range page {
			if b.At.Before(began) || b.At.After(time.Now().Add(time.Minute)) {
				t.Errorf("%s was blocked at %s", b.User, b.At)
			}
			users = append(users, b.User)
		}
		if len(page) < 2 {
			break
		}
		after = page[1].User
	}
	if diff := cmp.Diff([]chat.UserID{"bob", "dan", "eve"}, users); diff != "" {
		t.Errorf("blocked by ann (-want +got):\n%s", diff)
	}

	until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	invite := func(room chat.RoomID, text string, until time.Time) rules.Command {
		return rules.Invite{Origin: by(room, "ann"), Hash: chat.HashInvite(text), Role: access.RoleModerator, Uses: 3, Until: until}
	}
	commit(t, s, rules.Create{Origin: by("r", "ann"), New: chat.NewRoom{Kind: access.Private}}, rules.Create{Origin: by("s", "ann"), New: chat.NewRoom{Kind: access.Private}})
	commit(t, s, invite("r", "one", until), invite("r", "two", until), invite("r", "three", until), invite("s", "elsewhere", until), invite("r", "over", time.Now().Add(-time.Hour)))
	outcomes, _ := commit(t, s, rules.RevokeInvite{Origin: by("r", "ann"), Hash: chat.HashInvite("two")}, rules.RevokeInvite{Origin: by("r", "ann"), Hash: chat.HashInvite("elsewhere")})
	if !outcomes[0].Changed || outcomes[1].Changed {
		t.Errorf("revoked: %v, and of another room %v", outcomes[0].Changed, outcomes[1].Changed)
	}
	if _, ok, err := s.Invitation(t.Context(), chat.HashInvite("two")); ok || err != nil {
		t.Errorf("a revoked invite is still there: %v, %v", ok, err)
	}
	var invites []chat.Invitation
	for after := (chat.InviteHash{}); ; {
		page, err := s.Invites(t.Context(), "r", after, 1)
		if err != nil || len(page) > 1 {
			t.Fatalf("Invites = %v, %v", page, err)
		}
		if len(page) == 0 {
			break
		}
		page[0].Until = page[0].Until.UTC()
		invites, after = append(invites, page...), page[0].Hash
	}
	var want []chat.Invitation
	for _, text := range []string{"one", "three"} {
		want = append(want, chat.Invitation{Hash: chat.HashInvite(text), Room: "r", By: "ann", Role: access.RoleModerator, Uses: 3, Until: until})
	}
	slices.SortFunc(want, func(x, y chat.Invitation) int { return bytes.Compare(x.Hash[:], y.Hash[:]) })
	if diff := cmp.Diff(want, invites); diff != "" {
		t.Errorf("invites of r (-want +got):\n%s", diff)
	}
	entries, err := s.Audit(t.Context(), usecases.AuditPage{Room: "r", Limit: 10})
	if err != nil || len(entries) == 0 || entries[0].Act != "revoke-invite" || entries[0].User != "ann" || !entries[0].Until.Equal(until) {
		t.Errorf("audit = %+v, %v", entries, err)
	}
}
