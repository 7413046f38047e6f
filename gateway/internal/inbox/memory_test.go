package inbox

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/platform/bus/bustest"
)

// TestMemory measures what a gateway keeps of the inboxes of 20,000 sockets with 50 rooms each, in rooms of ten members: docs/performance.md has
// the figure (go test -v -run TestMemory). Without -v there are fewer.
func TestMemory(t *testing.T) {
	const each, members = 50, 10
	sockets := 2_000
	if testing.Verbose() {
		sockets = 20_000
	}
	b := New(Config{Rooms: each, Most: sockets * each}, nil, hub.NewRegistry(), bustest.Connect(t, bustest.Server(t)), sessiontest.Stats(), slog.New(slog.DiscardHandler))
	all := make([]session.Socket, sockets) // they are there anyway
	before := heap()
	for i := range all {
		m := &member{socket: &all[i]}
		b.sockets[m.socket] = m
		ids := make([]string, each)
		for j := range ids {
			ids[j] = fmt.Sprintf("r_A4U24E4EB6CF3FF3UXSX5J%05d%d", i/members, j)
		}
		if _, err := b.setRooms(m, ids); err != nil {
			t.Fatal(err)
		}
	}
	per := float64(heap()-before) / float64(b.links)
	t.Logf("%d rooms of %d sockets, %d rooms in all: %.0f bytes a room of a socket", b.links, sockets, len(b.rooms), per)
	if b.links != sockets*each || len(b.rooms) != sockets*each/members {
		t.Errorf("%d links, %d rooms, want %d and %d", b.links, len(b.rooms), sockets*each, sockets*each/members)
	}
	if per > 60 {
		t.Errorf("%.0f bytes a room of a socket, want at most 60", per)
	}
	runtime.KeepAlive(all)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
