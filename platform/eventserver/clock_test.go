package eventserver

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

func TestClock(t *testing.T) {
	c := clock{replica: 7, began: time.Now()}
	for _, tc := range []struct {
		what     string
		heard    []uint64
		patience uint32
		want     time.Duration // since the clock began; -1: not said
	}{
		{"a gateway of a release before", nil, 0, -1},
		{"nothing heard", nil, 4000, 0},
		{"others heard", []uint64{6, 9000, 8, 9000}, 4000, 0},
		{"heard at the beginning", []uint64{7, 1}, 4000, 4 * time.Second},
		{"heard among others", []uint64{6, 1, 7, 1001, 8, 1}, 4000, 5 * time.Second},
		{"a repeat, which has heard again", []uint64{7, 1001, 6, 1, 7, 3001, 6, 1}, 1000, 4 * time.Second},
		{"half a pair", []uint64{6, 1, 7}, 4000, 0},
	} {
		got := c.until(tc.heard, tc.patience)
		if tc.want < 0 {
			if !got.IsZero() {
				t.Errorf("%s: until = %v, want none", tc.what, got)
			}
		} else if since := got.Sub(c.began); since != tc.want {
			t.Errorf("%s: until = %v after the beginning, want %v", tc.what, since, tc.want)
		}
	}
}

// TestHeardCostsNothing: to read what a gateway has heard takes no memory.
func TestHeardCostsNothing(t *testing.T) {
	s := &Server{clock: newClock()}
	allocs := func(e *eventv1.ClientEvent) float64 {
		raw, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return testing.AllocsPerRun(100, func() {
			if _, err := s.read(raw, &eventv1.ClientEvent{}); err != nil {
				t.Fatal(err)
			}
		})
	}
	plain := allocs(&eventv1.ClientEvent{SocketId: "s", Args: []byte("[]")})
	heard := allocs(&eventv1.ClientEvent{SocketId: "s", Args: []byte("[]"), Heard: []uint64{1, 2, 3, 4, 5, 6}, PatienceMs: 4000})
	if heard > plain {
		t.Errorf("%v allocations with what was heard, %v without", heard, plain)
	}
}
