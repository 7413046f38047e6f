package postgres

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/presence-service/internal/presence"
	"github.com/starling-chat/starling/proto/limits"
)

func TestStore(t *testing.T) {
	fsys, err := Migrations()
	if err != nil {
		t.Fatal(err)
	}
	store := NewStore(pgtest.Pool(t, fsys, "presence"))
	longest := presence.UserID(strings.Repeat("𠮷", limits.UserIDChars))
	now := time.Now().UTC().Truncate(time.Microsecond)
	for _, batch := range [][]presence.Sighting{
		nil,
		{{User: "bob", At: now}, {User: "ann", At: now}, {User: "a\x00b", At: now}, {User: "", At: now}, {User: longest, At: now}},
		{{User: "ann", At: now.Add(-time.Hour)}, {User: "bob", At: now.Add(time.Second)}}, // late; newer
	} {
		if err := store.SaveSightings(t.Context(), batch); err != nil {
			t.Fatalf("SaveSightings(%v) = %v, want nil", batch, err)
		}
	}
	got, err := store.LastSeen(t.Context(), []presence.UserID{"ann", "bob", "zoe", longest})
	if err != nil {
		t.Fatal(err)
	}
	want := map[presence.UserID]time.Time{"ann": now, "bob": now.Add(time.Second), longest: now}
	if diff := cmp.Diff(want, got, cmp.Comparer(time.Time.Equal)); diff != "" {
		t.Errorf("LastSeen (-want +got):\n%s", diff)
	}
}

func TestStoreBeforeMigration(t *testing.T) {
	store := NewStore(pgtest.Pool(t, nil, "presence"))
	if _, err := store.LastSeen(t.Context(), []presence.UserID{"ann"}); !errors.Is(err, presence.ErrUnavailable) {
		t.Errorf("LastSeen = %v, want ErrUnavailable", err)
	}
}
