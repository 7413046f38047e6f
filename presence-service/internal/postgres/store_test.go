package postgres

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/presence-service/internal/presence"
)

func TestStore(t *testing.T) {
	fsys, err := Migrations()
	if err != nil {
		t.Fatal(err)
	}
	store := NewStore(pgtest.Pool(t, fsys, "presence"))
	now := time.Now().UTC().Truncate(time.Microsecond)
	for _, batch := range [][]presence.Sighting{
		nil,
		{{User: "bob", At: now}, {User: "ann", At: now}, {User: "a\x00b", At: now}, {User: "", At: now}},
		{{User: "ann", At: now.Add(-time.Hour)}, {User: "bob", At: now.Add(time.Second)}}, // late; newer
	} {
		if err := store.SaveSightings(t.Context(), batch); err != nil {
			t.Fatalf("SaveSightings(%v) = %v, want nil", batch, err)
		}
	}
	got, err := store.LastSeen(t.Context(), []presence.UserID{"ann", "bob", "zoe"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[presence.UserID]time.Time{"ann": now, "bob": now.Add(time.Second)}
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
