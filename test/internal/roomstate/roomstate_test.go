package roomstate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// server is a room as chat-service has it: it does something at random, and tells the fact.
type server struct {
	rand     *rand.Rand
	seq      uint64
	messages []map[string]any
}

type fact struct {
	event    string
	argument func() any // as it is when it is read
}

func (s *server) next() uint64 {
	s.seq++
	return s.seq
}

// whole gives a message as it is by now.
func (s *server) whole(m map[string]any) any {
	raw, _ := json.Marshal(m)
	var c map[string]any
	_ = json.Unmarshal(raw, &c)
	if to, ok := c["replyTo"].(map[string]any); ok {
		for _, other := range s.messages {
			if other["id"] == to["id"] && other["deletedAt"] != nil {
				to["preview"] = ""
			}
		}
	}
	return c
}

func (s *server) act() fact {
	if len(s.messages) == 0 || s.rand.IntN(4) == 0 {
		seq := s.next()
		m := map[string]any{"id": fmt.Sprint("m", seq), "seq": seq, "n": len(s.messages) + 1, "content": fmt.Sprint("said ", seq), "type": "text"}
		if len(s.messages) > 0 && s.rand.IntN(2) == 0 {
			if to := s.messages[s.rand.IntN(len(s.messages))]; to["deletedAt"] == nil {
				m["replyTo"] = map[string]any{"id": to["id"], "preview": to["content"]}
			}
		}
		s.messages = append(s.messages, m)
		return fact{"message:new", func() any { return s.whole(m) }}
	}
	m := s.messages[s.rand.IntN(len(s.messages))]
	if m["deletedAt"] != nil {
		return fact{"room:user-joined", func() any { return map[string]any{"seq": s.seq} }}
	}
	seq := s.next()
	m["changed"] = seq
	about := func(more map[string]any) func() any {
		more["messageId"], more["seq"] = m["id"], seq
		return func() any { return more }
	}
	switch s.rand.IntN(5) {
	case 0, 1:
		m["content"], m["editedAt"] = fmt.Sprint("edited ", seq), fmt.Sprint(seq)
		return fact{"message:edited", func() any { return map[string]any{"seq": seq, "message": s.whole(m)} }}
	case 2:
		counts := []map[string]any{}
		for i := range s.rand.IntN(3) {
			counts = append(counts, map[string]any{"key": fmt.Sprint("k", i), "count": 1 + s.rand.IntN(5)})
		}
		m["reactions"] = counts
		if len(counts) == 0 {
			delete(m, "reactions")
		}
		return fact{"message:reactions", about(map[string]any{"counts": counts})}
	case 3:
		if m["pinnedAt"] != nil {
			delete(m, "pinnedAt")
			return fact{"message:unpinned", about(map[string]any{})}
		}
		m["pinnedAt"] = fmt.Sprint(seq)
		return fact{"message:pinned", about(map[string]any{"pinnedAt": m["pinnedAt"]})}
	default:
		for _, name := range []string{"replyTo", "reactions", "pinnedAt", "editedAt"} {
			delete(m, name)
		}
		m["content"], m["deletedAt"], m["deletedBy"] = "", fmt.Sprint(seq), "ann"
		return fact{"message:deleted", about(map[string]any{"by": "ann", "deletedAt": m["deletedAt"]})}
	}
}

type delivery struct {
	event string
	raw   []byte
}

func deliver(event string, argument any) delivery {
	raw, _ := json.Marshal(argument)
	return delivery{event, raw}
}

// TestAnyOrder: whatever the order and the repetition, and whether a fact is told live or replayed later, clients reach the state of the server.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 7))
		s := &server{rand: random}
		var deliveries []delivery
		var late []fact
		for range 60 {
			f := s.act()
			if random.IntN(3) > 0 {
				deliveries = append(deliveries, deliver(f.event, f.argument()))
			} else {
				late = append(late, f)
			}
			if random.IntN(5) == 0 { // a page
				for _, m := range s.messages {
					deliveries = append(deliveries, deliver("message:new", s.whole(m)))
				}
			}
		}
		for _, f := range late {
			deliveries = append(deliveries, deliver(f.event, f.argument()))
		}
		for range random.IntN(100) {
			deliveries = append(deliveries, deliveries[random.IntN(len(deliveries))])
		}
		want := make([]any, 0, len(s.messages))
		for _, m := range s.messages {
			want = append(want, s.whole(m))
		}
		wholes := New()
		for _, m := range s.messages {
			raw, _ := json.Marshal(s.whole(m))
			if err := wholes.Whole(raw); err != nil {
				t.Fatal(err)
			}
		}
		digests := wholes.Digests()
		for range 5 {
			random.Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })
			client, compact := New(), NewCompact()
			for _, d := range deliveries {
				if err := errors.Join(client.Apply(d.event, d.raw), compact.Apply(d.event, d.raw)); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(digests, compact.Digests()); diff != "" {
				t.Fatalf("seed %d, digests (-server +client):\n%s", seed, diff)
			}
			raw, err := json.Marshal(client.Messages())
			if err != nil {
				t.Fatal(err)
			}
			got := []any{}
			_ = json.Unmarshal(raw, &got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d (-server +client):\n%s", seed, diff)
			}
		}
	}
}

// TestMine: what depends on who reads is no part of the state.
func TestMine(t *testing.T) {
	x, y := New(), New()
	for room, reactions := range map[*Room]string{x: `[{"key":"a","count":1,"mine":true}]`, y: `[{"key":"a","count":1}]`} {
		if err := room.Whole([]byte(`{"id":"m","seq":1,"reactions":` + reactions + `}`)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(x.Messages(), y.Messages()); diff != "" {
		t.Error(diff)
	}
	if err := x.Apply("message:edited", []byte(`{"seq":`)); err == nil {
		t.Error("what is no JSON is taken")
	}
}

// TestDigest: what a client shows has a part in the digest, how it is written has none.
func TestDigest(t *testing.T) {
	digest := func(messages ...string) []Digest {
		r := NewCompact()
		for _, m := range messages {
			if err := r.Whole([]byte(m)); err != nil {
				t.Fatal(err)
			}
		}
		return r.Digests()
	}
	const said = `{"id":"m","seq":3,"changed":7,"content":"<a>","reactions":[{"key":"k","count":2}]}`
	if diff := cmp.Diff(digest(said), digest(`{"reactions": [{"count":2,"key":"k"}], "seq":3, "id":"m","content":"\u003ca>","changed":7}`)); diff != "" {
		t.Error(diff)
	}
	for _, other := range []string{
		`{"id":"m","seq":3,"changed":7,"content":"<b>","reactions":[{"key":"k","count":2}]}`,
		`{"id":"m","seq":3,"changed":7,"content":"<a>","reactions":[{"key":"k","count":3}]}`,
		`{"id":"m","seq":3,"changed":7,"content":"<a>"}`,
		`{"id":"m","seq":3,"changed":7,"content":"<a>","reactions":[{"key":"k","count":2}],"pinnedAt":"x"}`,
		`{"id":"m","seq":3,"changed":6,"content":"<a>","reactions":[{"key":"k","count":2}]}`,
		`{"id":"m","seq":3,"changed":7,"content":"<a>","reactions":[{"key":"k","count":2}],"n":1}`,
	} {
		if cmp.Equal(digest(said), digest(other)) {
			t.Errorf("%s has the digest of %s", other, said)
		}
	}
	r := NewCompact()
	for _, m := range []string{said, `{"id":"o","seq":4,"content":"x"}`} {
		if err := r.Whole([]byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	r.Forget(3)
	if diff := cmp.Diff(digest(`{"id":"o","seq":4,"content":"x"}`), r.Digests()); diff != "" {
		t.Error(diff)
	}
}
