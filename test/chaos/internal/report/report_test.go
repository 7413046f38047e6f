package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/check"
	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// sample is a minute with two faults, in which nothing is answered, and an invariant that is violated.
func sample() (*history.History, []check.Result) {
	h := &history.History{
		Config: history.Config{
			Seed: 7, Clients: 20, Rate: 50, Copies: 2, Nodes: 3, Duration: time.Minute, Nemeses: []string{"process", "nats"},
			Healed: 60 * time.Second, Stopped: 72 * time.Second, End: 80 * time.Second,
		},
		Rooms: []history.Room{{ID: "all", LastSeq: 3600}},
		Faults: []history.Fault{
			{Nemesis: "process", Action: "kill -9 <b>", Target: "chat-1", Start: 12 * time.Second, End: 15 * time.Second, Service: 17 * time.Second},
			{Nemesis: "nats", Action: "restart", Target: "nats-0", Start: 40 * time.Second, End: 41 * time.Second},
		},
	}
	for u := range 20 {
		h.Users = append(h.Users, history.User{ID: fmt.Sprintf("u%d", u)})
		h.Conns = append(h.Conns, history.Conn{User: u, Number: 1, Up: time.Duration(u) * 50 * time.Millisecond, Down: 80 * time.Second, ByClient: true})
	}
	for n := range 3600 {
		at := time.Duration(n) * 20 * time.Millisecond
		s := history.Send{User: n % 20, ID: fmt.Sprint(n), Invoke: at, Return: at + 4*time.Millisecond, Outcome: history.OK, Seq: uint64(n + 1)}
		if at > 12*time.Second && at < 16*time.Second {
			s.Outcome, s.Seq = history.Unknown, 0
		}
		h.Sends = append(h.Sends, s)
		h.Log = append(h.Log, history.Event{Seq: uint64(n + 1), Kind: "message:new", ClientMsgID: s.ID})
		h.Deliveries = append(h.Deliveries, history.Delivery{At: at + time.Duration(3+n%40)*time.Millisecond, Seq: uint32(n + 1), Conn: 1})
	}
	for at := time.Duration(0); at < 80*time.Second; at += time.Second {
		h.Samples = append(h.Samples,
			history.Sample{At: at, Process: "gateway-0", PID: 1, RSS: 50<<20 + int64(at/time.Second)<<18},
			history.Sample{At: at, Process: "chat-1", PID: 2 + int(at/(14*time.Second)), RSS: 40 << 20})
	}
	return h, []check.Result{
		{Number: 1, Name: "acked", Checked: 3000},
		{Number: 2, Name: "once", Count: 3, Checked: 3000, Violations: []string{"two <rows>"}},
		{Number: 3, Name: "contiguous", Skipped: true, Note: "no rooms"},
	}
}

func TestHTML(t *testing.T) {
	h, results := sample()
	var page bytes.Buffer
	if err := HTML(&page, h, results); err != nil {
		t.Fatal(err)
	}
	if path := os.Getenv("REPORT_OUT"); path != "" { // to look at it
		if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := page.String()
	for _, want := range []string{"1 violated", "two &lt;rows&gt;", "nothing to look at", "kill -9 &lt;b&gt;", "gateway-0"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, never := range []string{"http:", "https:", "src=", "NaN", "ZgotmplZ", "<b> chat"} {
		if strings.Contains(text, never) {
			t.Errorf("the page has %q", never)
		}
	}
	if got := strings.Count(text, "<svg"); got != 6 {
		t.Errorf("the page has %d drawings, want 6", got)
	}
}

func TestEmpty(t *testing.T) {
	var page bytes.Buffer
	h := new(history.History)
	if err := HTML(&page, h, check.Run(h)); err != nil {
		t.Fatal(err)
	}
	if err := JSON(&page, h, nil); err != nil {
		t.Fatal(err)
	}
}

func TestJSON(t *testing.T) {
	h, results := sample()
	var out bytes.Buffer
	if err := JSON(&out, h, results); err != nil {
		t.Fatal(err)
	}
	var s Summary
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	// 199 attempts fall between 12 s and 16 s.
	if s.OK || s.Totals.Messages != 3600 || s.Totals.Unknown != 199 || s.Totals.Lost != 199 || s.Totals.P50 < 20*time.Millisecond {
		t.Errorf("totals %+v, ok %v", s.Totals, s.OK)
	}
	if got := s.Seconds[20]; got.Acked != 50 || got.Connected != 20 {
		t.Errorf("second 20 is %+v", got)
	}
	if got := s.Memory[0]; got.Process != "chat-1" || got.Starts != 6 || got.Max != 40<<20 {
		t.Errorf("memory %+v", got)
	}
	var table strings.Builder
	if err := Index(&table, []Summary{s, s}); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(table.String()), "\n"); len(lines) != 4 || !strings.Contains(lines[2], "2 (3×)") {
		t.Errorf("table:\n%s", table.String())
	}
}
