package sequence

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// passed collects what goes out.
type passed []uint64

func (p *passed) pass(e Event) { *p = append(*p, e.Seq) }

func TestSequencer(t *testing.T) {
	type step struct {
		start bool
		seq   uint64
	}
	start := func(head uint64) step { return step{true, head} }
	offers := func(seqs ...uint64) (steps []step) {
		for _, s := range seqs {
			steps = append(steps, step{false, s})
		}
		return steps
	}
	for name, tc := range map[string]struct {
		steps  []step
		want   []uint64
		gap    [2]uint64 // 0, 0: none
		last   uint64
		isHeld int
	}{
		"in sequence":           {append([]step{start(6)}, offers(7, 8, 9)...), []uint64{7, 8, 9}, [2]uint64{}, 9, 0},
		"repeats":               {append([]step{start(6)}, offers(5, 6, 7, 7, 8, 7, 8)...), []uint64{7, 8}, [2]uint64{}, 8, 0},
		"one early":             {append([]step{start(6)}, offers(9, 7)...), []uint64{7}, [2]uint64{7, 8}, 7, 1},
		"one early, then it":    {append([]step{start(6)}, offers(9, 7, 8)...), []uint64{7, 8, 9}, [2]uint64{}, 9, 0},
		"two gaps":              {append([]step{start(6)}, offers(11, 9)...), nil, [2]uint64{6, 8}, 6, 2},
		"first of two closed":   {append([]step{start(6)}, offers(11, 9, 8, 7)...), []uint64{7, 8, 9}, [2]uint64{9, 10}, 9, 1},
		"early repeat":          {append([]step{start(6)}, offers(9, 9, 9)...), nil, [2]uint64{6, 8}, 6, 1},
		"ephemeral":             {append([]step{start(6)}, offers(0, 8, 0)...), []uint64{0, 0}, [2]uint64{6, 7}, 6, 1},
		"before the start":      {offers(3, 1, 0), []uint64{0}, [2]uint64{}, 0, 2},
		"start lets out":        {append(offers(9, 8, 7, 5, 11), start(6)), []uint64{7, 8, 9}, [2]uint64{9, 10}, 9, 1},
		"start drops":           {append(offers(3, 4), start(6)), nil, [2]uint64{}, 6, 0},
		"start of an empty one": {append([]step{start(0)}, offers(1)...), []uint64{1}, [2]uint64{}, 1, 0},
		"second start":          {[]step{start(6), start(60)}, nil, [2]uint64{}, 6, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var s Sequencer
			var got passed
			for _, st := range tc.steps {
				if st.start {
					s.Start(st.seq, got.pass)
				} else {
					s.Offer(Event{Seq: st.seq}, got.pass)
				}
			}
			if diff := cmp.Diff(tc.want, []uint64(got)); diff != "" {
				t.Errorf("passed: -want +got\n%s", diff)
			}
			after, upTo, gap := s.Gap()
			if want := tc.gap != [2]uint64{}; gap != want || gap && (after != tc.gap[0] || upTo != tc.gap[1]) {
				t.Errorf("Gap() = %d, %d, %v, want %v", after, upTo, gap, tc.gap)
			}
			if last, _ := s.Started(); last != tc.last || len(s.held) != tc.isHeld {
				t.Errorf("last = %d with %d held, want %d with %d", last, len(s.held), tc.last, tc.isHeld)
			}
		})
	}
}

// TestSequencerAgainstModel offers events in any order, with repeats and losses, and compares with a set: what goes out is
// each sequence above the head once and in sequence, as far as they came without a hole.
func TestSequencerAgainstModel(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		head, n := r.Uint64N(5), 1+r.IntN(40)
		var offers []uint64
		for i := range n {
			for range r.IntN(3) { // lost, once, twice
				offers = append(offers, uint64(i+1))
			}
		}
		r.Shuffle(len(offers), func(i, j int) { offers[i], offers[j] = offers[j], offers[i] })
		startAt := r.IntN(len(offers) + 1)

		var s Sequencer
		var got passed
		came := map[uint64]bool{}
		check := func() {
			want := head
			for came[want+1] {
				want++
			}
			last, started := s.Started()
			if !started || last != want || len(got) != int(want-head) {
				t.Fatalf("seed %d: last = %d, %v, %d passed, want %d", seed, last, started, len(got), want)
			}
			lowest := uint64(0)
			for seq := range came {
				if seq > want && (lowest == 0 || seq < lowest) {
					lowest = seq
				}
			}
			after, upTo, gap := s.Gap()
			if gap != (lowest > 0) || gap && (after != want || upTo != lowest-1) {
				t.Fatalf("seed %d: Gap() = %d, %d, %v, want %d, %d", seed, after, upTo, gap, want, lowest-1)
			}
		}
		for i, seq := range offers {
			if i == startAt {
				s.Start(head, got.pass)
				check()
			}
			s.Offer(Event{Seq: seq}, got.pass)
			came[seq] = true
			if i >= startAt {
				check()
			} else if len(got) > 0 {
				t.Fatalf("seed %d: %v passed before the start", seed, got)
			}
		}
		for i, seq := range got {
			if seq != head+uint64(i)+1 {
				t.Fatalf("seed %d: passed %v, want them in sequence after %d", seed, got, head)
			}
		}
	}
}

// TestSequencerIsBounded: what is dropped is the newest, and comes again by the repair.
func TestSequencerIsBounded(t *testing.T) {
	var s Sequencer
	var got passed
	s.Start(0, got.pass)
	for seq := uint64(3 * MaxHeld); seq >= 2; seq-- {
		s.Offer(Event{Seq: seq}, got.pass)
		if len(s.held) > MaxHeld {
			t.Fatalf("%d events held, want %d at most", len(s.held), MaxHeld)
		}
	}
	if after, upTo, gap := s.Gap(); !gap || after != 0 || upTo != 1 {
		t.Errorf("Gap() = %d, %d, %v, want 0, 1", after, upTo, gap)
	}
	s.Offer(Event{Seq: 1}, got.pass)
	if last, _ := s.Started(); last != MaxHeld+1 || !slices.IsSorted(got) {
		t.Errorf("last = %d, want %d, in sequence", last, MaxHeld+1)
	}
	for seq := uint64(1); seq <= 3*MaxHeld; seq++ {
		s.Offer(Event{Seq: seq}, got.pass)
	}
	if last, _ := s.Started(); last != 3*MaxHeld || len(got) != 3*MaxHeld || s.held != nil {
		t.Errorf("last = %d with %d passed and %d held, want %d of each and none", last, len(got), len(s.held), 3*MaxHeld)
	}
}
