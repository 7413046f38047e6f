package peers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	"github.com/starling-chat/starling/proto/subject"
)

func TestPollThroughAnotherGateway(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	p := pollThrough(t, g1, g2)
	p.enter("a")
	waiting := p.getLater(t.Context())
	p.Post(`421["echo",1]` + "\x1e" + `451-2["echo",{"_placeholder":true,"num":0}]` + "\x1e" + "bAQI=")
	got := ""
	select {
	case r := <-waiting:
		got = string(r.Body)
	case <-time.After(sessiontest.Patience):
		t.Fatal("the GET is not answered")
	}
	for want := `431[1]` + "\x1e" + `461-2[{"_placeholder":true,"num":0}]` + "\x1e" + "bAQI="; got != want; {
		if !strings.HasPrefix(want, got) {
			t.Fatalf("polled %q, want %q", got, want)
		}
		got += "\x1e" + p.Get()
	}
	for _, bad := range []struct {
		r    session.PollRequest
		want string
	}{
		{session.PollRequest{Method: "GET"}, `400 {"code":0,"message":"Transport unknown"}`},
		{session.PollRequest{Method: "PUT"}, `500 {"code":3,"message":"Bad request"}`},
		{session.PollRequest{Method: "POST", ContentType: "application/octet-stream", Body: []byte("4x")}, `400 {"code":3,"message":"Bad request"}`},
	} {
		bad.r.Query.SID = p.SID
		if !strings.Contains(bad.want, "Transport") {
			bad.r.Query.Transport = "polling"
		}
		r := p.Do(t.Context(), bad.r)
		if got := fmt.Sprintf("%d %s", r.Status, r.Body); got != bad.want {
			t.Errorf("%s %s = %s, want %s", bad.r.Method, bad.r.ContentType, got, bad.want)
		}
	}
	lost := *p.Polling
	lost.SID = "unknown"
	if r := lost.Request(t.Context(), "GET", ""); r.Status != 400 || !strings.Contains(string(r.Body), "Session ID unknown") {
		t.Errorf("GET of an unknown sid = %d %s, want 400 Session ID unknown", r.Status, r.Body)
	}
	waiting = p.getLater(t.Context())
	p.Post("1")
	wantResponse(t, waiting, "200 6")
	wantResponse(t, p.getLater(t.Context()), `400 {"code":1,"message":"Session ID unknown"}`)

	g1.kill()
	if _, err := g2.peers.Poll(t.Context(), "g1", session.PollRequest{Method: "GET"}); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("Poll of a dead gateway = %v, want %v: nothing is waited for", err, nats.ErrNoResponders)
	}
}

// TestAbortedPollThroughAnotherGateway: the owner hears that the client is gone.
func TestAbortedPollThroughAnotherGateway(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	p := pollThrough(t, g1, g2)
	p.enter("a")
	p.hold = time.Minute // between two GETs there is nothing to abort
	ctx, cancel := context.WithCancel(t.Context())
	waiting := p.getLater(ctx)
	cancel()
	<-waiting
	sessiontest.Eventually(t, func() bool { return g1.sessions.Count() == 0 && len(g1.app.user("a")) == 0 }, func() string {
		return "the owner's session goes on after its GET was aborted"
	})
	wantResponse(t, p.getLater(t.Context()), `400 {"code":1,"message":"Session ID unknown"}`)
	g1.peers.mu.Lock()
	defer g1.peers.mu.Unlock()
	if n := len(g1.peers.cancels); n > 0 {
		t.Errorf("%d requests can still be cancelled, want none", n)
	}
}

// TestTakeover: another gateway is answered when everything here knows that the socket is gone.
func TestTakeover(t *testing.T) {
	f := newFleet(t)
	g := f.start("g1")
	asked, known := make(chan string, 1), make(chan struct{})
	g.mu.Lock()
	g.takeover = func(pid string, done func()) {
		asked <- pid
		go func() { <-known; done() }()
	}
	g.mu.Unlock()
	raw, _ := proto.Marshal(&enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Takeover{Takeover: &enginev1.Takeover{Pid: "p"}}})
	answered := make(chan error, 1)
	go func() {
		_, err := f.bus.Request(subject.Engine("g1"), raw, sessiontest.Patience)
		answered <- err
	}()
	if pid := <-asked; pid != "p" {
		t.Errorf("Takeover(%q), want p", pid)
	}
	if len(answered) > 0 {
		t.Error("answered before the socket is gone")
	}
	close(known)
	if err := <-answered; err != nil {
		t.Errorf("answer = %v, want one", err)
	}
}
