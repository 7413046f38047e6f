package session_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// offsetOf takes the offset out of an event, its last argument.
func offsetOf(t *testing.T, packet string) string {
	t.Helper()
	rest, ok := strings.CutSuffix(packet, `"]`)
	if !ok {
		t.Fatalf("event %s does not end with a string, want an offset", packet)
	}
	return rest[strings.LastIndexByte(rest, '"')+1:]
}

func parsed(t *testing.T, packet string) map[uint32]uint64 {
	t.Helper()
	seqs, ok := session.ParseOffset(offsetOf(t, packet))
	if !ok {
		t.Fatalf("ParseOffset of %s is not ok", packet)
	}
	return seqs
}

// recoverable is a socket with offsets.
func recoverable(t *testing.T) (*session.Socket, *sessiontest.Conn) {
	t.Helper()
	socket, c := sessiontest.NewSockets(t).New(t, "/", "user")
	socket.Offsets = &session.Offsets{}
	return socket, c
}

func event(t testing.TB, args string) *transport.Message {
	t.Helper()
	m, err := session.Emit{Namespace: "/", Event: "e", Args: []byte(args)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestOffsetsAreAnExactAccount compares what goes out with a model, over random acts.
func TestOffsetsAreAnExactAccount(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		socket, c := recoverable(t)
		model := map[uint32]uint64{}
		var rooms []uint32
		number := uint32(0)
		for range 200 {
			room := func() uint32 { return rooms[rnd.IntN(len(rooms))] }
			seq := max(rnd.Uint64()>>rnd.IntN(64), 1)
			switch act := rnd.IntN(10); {
			case act < 2 || len(rooms) == 0:
				number++
				if got := socket.Offsets.Enter(); got != number {
					t.Fatalf("seed %d: Enter() = %d, want %d", seed, got, number)
				}
				rooms = append(rooms, number)
				continue
			case act < 4:
				r := room()
				socket.Offsets.Set(r, seq)
				model[r] = max(model[r], seq)
				continue
			case act < 5:
				r := room()
				socket.Offsets.Leave(r)
				delete(model, r)
				continue
			case act < 6:
				if !socket.Queue(event(t, `["text"]`)) { // ends with a string: marked
					t.Fatal("Queue = false, want true")
				}
			default:
				r := room()
				if !socket.QueueDurable(event(t, `[1]`), r, seq) {
					t.Fatal("QueueDurable = false, want true")
				}
				model[r] = max(model[r], seq)
			}
			got := c.Queued()
			if diff := cmp.Diff(model, parsed(t, got[len(got)-1])); diff != "" {
				t.Fatalf("seed %d: offset of %s: -want +got\n%s", seed, got[len(got)-1], diff)
			}
		}
	}
}

// TestOffsetsNumberOnAfterRecovery: a recovered socket has its rooms set; new ones must not get their numbers.
func TestOffsetsNumberOnAfterRecovery(t *testing.T) {
	var o session.Offsets
	o.Set(7, 100)
	o.Set(3, 5)
	if got := o.Enter(); got != 8 {
		t.Errorf("Enter() = %d after Set(7), want 8", got)
	}
}

// TestOffsetStandsForAString: an event outside the rooms carries the offset where official clients would take its last element for
// one, and never in front of an ack callback.
func TestOffsetStandsForAString(t *testing.T) {
	socket, c := recoverable(t)
	socket.Offsets.Set(1, 1)
	socket.Queue(event(t, ``))
	socket.Queue(event(t, `[ ]`))
	socket.Queue(event(t, `[1, "b" ]`))
	for _, e := range []session.Emit{{Args: []byte(`["b"]`)}, {Args: []byte(`[]`)}, {Args: []byte(`[1]`), WithOffset: true}} {
		e.Namespace, e.Event, e.AckID = "/", "e", 7
		m, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		socket.Queue(m)
	}
	want := []string{
		`42["e","o1.AQE"]`, `42["e","o1.AQE"]`, `42["e",1, "b","o1.AQE"]`,
		`427["e","b"]`, `427["e"]`, `427["e",1]`,
	}
	if diff := cmp.Diff(want, c.Queued()); diff != "" {
		t.Errorf("queued: -want +got\n%s", diff)
	}
}

func TestEventWithoutStringIsNotMarked(t *testing.T) {
	socket, c := recoverable(t)
	socket.Offsets.Set(1, 1)
	socket.Queue(event(t, `[{"a":"b"}]`))
	socket.Queue(event(t, `["b"]`))
	socket.Offsets = nil
	socket.Queue(event(t, `["b"]`))
	socket.QueueDurable(event(t, `[1]`), 1, 2)
	want := []string{`42["e",{"a":"b"}]`, `42["e","b","o1.AQE"]`, `42["e","b"]`, `42["e",1]`}
	if diff := cmp.Diff(want, c.Queued()); diff != "" {
		t.Errorf("queued: -want +got\n%s", diff)
	}
}

// TestOffsetsStayMonotonic: events of many rooms, queued at once, carry offsets that never fall behind what went out before.
func TestOffsetsStayMonotonic(t *testing.T) {
	const rooms, events = 8, 300
	socket, c := recoverable(t)
	var wg sync.WaitGroup
	for range rooms {
		room := socket.Offsets.Enter()
		wg.Go(func() {
			for seq := range uint64(events) {
				socket.QueueDurable(event(t, fmt.Sprintf(`[%d,%d]`, room, seq+1)), room, seq+1)
			}
		})
	}
	wg.Go(func() {
		for range events {
			socket.Queue(event(t, `[0,0,"s"]`))
		}
	})
	wg.Wait()
	got := c.Queued()
	if len(got) != (rooms+1)*events {
		t.Fatalf("%d events queued, want %d", len(got), (rooms+1)*events)
	}
	went := map[uint32]uint64{}
	for _, packet := range got {
		var room uint32
		var seq uint64
		if _, err := fmt.Sscanf(packet, `42["e",%d,%d`, &room, &seq); err != nil {
			t.Fatal(err)
		}
		if room != 0 {
			if seq != went[room]+1 {
				t.Fatalf("room %d: event %d after %d", room, seq, went[room])
			}
			went[room] = seq
		}
		if offset := parsed(t, packet); !maps.Equal(offset, went) {
			t.Fatalf("%s has the offset %v, want exactly what went out: %v", packet, offset, went)
		}
	}
}

func TestParseOffset(t *testing.T) {
	encode := func(numbers ...uint64) string {
		var raw []byte
		for _, n := range numbers {
			raw = binary.AppendUvarint(raw, n)
		}
		return "o1." + base64.RawURLEncoding.EncodeToString(raw)
	}
	for offset, want := range map[string]map[uint32]uint64{
		"o1.":                             {},
		encode(1, 2):                      {1: 2},
		encode(1, 2, 300, math.MaxUint64): {1: 2, 300: math.MaxUint64},
		encode(math.MaxUint32, 1):         {math.MaxUint32: 1},
	} {
		got, ok := session.ParseOffset(offset)
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("ParseOffset(%q) = %v, %v, want %v", offset, got, ok, want)
		}
	}
	for _, offset := range []string{
		"", "o1", "o2.AQE", "O1.AQE", "AQE", " o1.AQE", "o1.AQE ", "o1.A", "o1.AQE=", "o1.A+/A", "o1.AQ", "o1.\x00", "null",
		encode(1), encode(1, 2, 3), encode(math.MaxUint32+1, 1),
		"o1." + base64.RawURLEncoding.EncodeToString([]byte{1, 0x80}),
		"o1." + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("\xff", 11)+"\x01\x01")),
		"o1." + strings.Repeat("AQE", 1<<20),
	} {
		if got, ok := session.ParseOffset(offset); ok {
			t.Errorf("ParseOffset(%.40q) = %v, true, want not ok", offset, got)
		}
	}
}

// TestOffsetOfManyRooms: a socket in as many rooms as the settings may allow is still recovered.
func TestOffsetOfManyRooms(t *testing.T) {
	socket, c := recoverable(t)
	for range 1000 {
		socket.Offsets.Set(socket.Offsets.Enter(), 1<<40)
	}
	socket.Queue(event(t, `["s"]`))
	if got := parsed(t, c.Queued()[0]); len(got) != 1000 {
		t.Errorf("offset names %d rooms, want 1000", len(got))
	}
}

func FuzzParseOffset(f *testing.F) {
	for _, offset := range []string{"", "o1.", "o1.AQE", "o1.AQGsAv___________wE", "o1.A", "o2.AQE", "o1.AQECAgMD"} {
		f.Add(offset)
	}
	f.Fuzz(func(t *testing.T, offset string) {
		seqs, ok := session.ParseOffset(offset)
		if !ok {
			if seqs != nil {
				t.Fatalf("ParseOffset(%q) = %v without ok, want nil", offset, seqs)
			}
			return
		}
		// What is understood is encoded again to the same meaning.
		socket := &session.Offsets{}
		for room, seq := range seqs {
			socket.Set(room, seq)
		}
		again, ok := session.ParseOffset(encodeOffsets(t, socket))
		if !ok || !maps.Equal(seqs, again) {
			t.Fatalf("ParseOffset(%q) = %v, and encoded again %v, %v", offset, seqs, again, ok)
		}
	})
}

// fuzzSocket gives encodeOffsets a conn; fuzz workers run one input at a time.
var fuzzSocket = sync.OnceValues(func() (*session.Socket, *sessiontest.Conn) {
	return sessiontest.NewSockets(&forever{}).New(&forever{}, "/", "fuzz")
})

// forever is a test that does not end before the process.
type forever struct{ testing.TB }

func (*forever) Helper()        {}
func (*forever) Cleanup(func()) {}

func encodeOffsets(t *testing.T, o *session.Offsets) string {
	t.Helper()
	socket, c := fuzzSocket()
	socket.Offsets = o
	c.Forget()
	socket.Queue(event(t, `["s"]`))
	return offsetOf(t, c.Queued()[0])
}
