package eventserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/platform/eventserver"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

func handle(f func(ctx context.Context, r *eventserver.Request) (*eventserver.Reply, error)) eventserver.Route {
	return eventserver.Route{Event: "do", Repeatable: true, Handle: f}
}

// echo answers with the arguments.
func echo(_ context.Context, r *eventserver.Request) (*eventserver.Reply, error) {
	return &eventserver.Reply{Args: r.Args}, nil
}

func TestAnswers(t *testing.T) {
	outcomes := func(r *eventserver.Request) (*eventserver.Reply, error) {
		switch string(r.Args) {
		case `["nothing"]`:
			return nil, nil
		case `["who"]`:
			return eventserver.Ack(map[string]string{"who": strings.Join([]string{r.User.ID, r.User.Name, r.User.Role, r.SocketID}, " ")})
		case `["refused"]`:
			return nil, fmt.Errorf("wrapped: %w", fault.New(fault.Forbidden, "Not yours"))
		case `["mistake"]`:
			return nil, errors.New("secret cause")
		case `["panic"]`:
			panic("secret state")
		case `["large"]`:
			return &eventserver.Reply{Args: make([]byte, 8<<20)}, nil
		}
		return &eventserver.Reply{Args: r.Args, Attachments: r.Attachments, Emits: []eventserver.Emit{{Event: "e", Args: []byte("[1]")}}}, nil
	}
	w := serve(t, eventserver.Service{Routes: []eventserver.Route{
		{Event: "handle", Namespaces: []string{"*"}, Handle: func(_ context.Context, r *eventserver.Request) (*eventserver.Reply, error) {
			return outcomes(r)
		}},
		{Event: "write", Namespaces: []string{"/", "/chat"}, Write: func(_ context.Context, r *eventserver.Request, done func(*eventserver.Reply, error)) {
			done(outcomes(r))
		}},
	}}, eventserver.Limits{})
	for _, name := range []string{"handle", "write"} {
		for args, want := range map[string]string{
			`["nothing"]`: `[{"ok":true}]`,
			`["who"]`:     `[{"ok":true,"who":"ann Ann user s1"}]`,
			`["refused"]`: "forbidden Not yours",
			`["mistake"]`: "internal Internal error ",
			`["panic"]`:   "internal Internal error ",
			`["large"]`:   "too_large The answer is too large",
			`[7]`:         `[7]`,
		} {
			e := event(name, args)
			e.Namespace = "/chat"
			e.Attachments = [][]byte{{1}}
			r := w.ask(t, e)
			got := said(r)
			if !strings.HasPrefix(got, want) || strings.Contains(got, "secret") {
				t.Errorf("%s %s = %s, want %s", name, args, got, want)
			}
			if strings.HasPrefix(want, "internal") {
				w.log.WantID(t, got)
			}
			if args == `[7]` && (len(r.GetAttachments()) != 1 || len(r.GetEmits()) != 1 || r.GetEmits()[0].GetEvent() != "e") {
				t.Errorf("%s %s = %v, want an attachment and an emit", name, args, r)
			}
		}
	}
	nobody := event("handle", "[]")
	nobody.Identity = nil
	if got := said(w.ask(t, nobody)); !strings.HasPrefix(got, "unauthenticated ") {
		t.Errorf("an event without a user = %s, want unauthenticated", got)
	}
	if err := end(t, w); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	for result, want := range map[string]float64{"ok": 4, "forbidden": 1, "internal": 2, "too_large": 0} {
		if got := counted(t, w.registry, "write", result); got != want {
			t.Errorf("starling_client_events_total{event=write,result=%s} = %v, want %v", result, got, want)
		}
	}
}

func counted(t *testing.T, registry *prometheus.Registry, event, result string) float64 {
	t.Helper()
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "starling_client_events_total", Help: "Client events answered, by event and result (ok or the fault's code).",
	}, []string{"event", "result"})
	before, ok := errors.AsType[prometheus.AlreadyRegisteredError](registry.Register(vec))
	if !ok {
		t.Fatal("the metric is not registered")
	}
	return testutil.ToFloat64(before.ExistingCollector.(*prometheus.CounterVec).WithLabelValues(event, result))
}

func TestBatch(t *testing.T) {
	w := serve(t, eventserver.Service{Routes: []eventserver.Route{handle(echo)}}, eventserver.Limits{})
	e := event("do", "[0]")
	for i := range 32 { // one more than is allowed
		e.More = append(e.More, &eventv1.FollowingEvent{Args: fmt.Appendf(nil, "[%d]", i+1)})
	}
	r := w.ask(t, e)
	if len(r.GetMore()) != 32 {
		t.Fatalf("%d answers more, want 32", len(r.GetMore()))
	}
	for i, answer := range append([]*eventv1.ClientReply{r}, r.GetMore()...) {
		want := fmt.Sprintf("[%d]", i)
		if i == 32 {
			want = "invalid too many events in one request"
		}
		if said(answer) != want {
			t.Errorf("answer %d = %s, want %s", i, said(answer), want)
		}
	}
}

// TestOrder has events of one socket come faster than they are handled.
func TestOrder(t *testing.T) {
	const n = 200
	var mu sync.Mutex
	seen := map[string][]string{}
	note := func(r *eventserver.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.Event+" "+r.SocketID] = append(seen[r.Event+" "+r.SocketID], string(r.Args))
	}
	w := serve(t, eventserver.Service{Routes: []eventserver.Route{
		handle(func(_ context.Context, r *eventserver.Request) (*eventserver.Reply, error) { note(r); return nil, nil }),
		{Event: "write", Write: func(_ context.Context, r *eventserver.Request, done func(*eventserver.Reply, error)) {
			note(r)
			go done(nil, nil)
		}},
	}}, eventserver.Limits{WorkerQueue: 4 * n})
	var answers []*nats.Subscription
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("[%d]", i))
		for _, socket := range []string{"a", "b", "c"} {
			for _, name := range []string{"do", "write"} {
				e := event(name, want[i])
				e.SocketId = socket
				answers = append(answers, w.send(t, e))
			}
		}
	}
	for _, a := range answers {
		reply(t, a)
	}
	mu.Lock()
	defer mu.Unlock()
	for key, got := range seen {
		if !slices.Equal(got, want) {
			t.Errorf("%s was handled in the order %v", key, got)
		}
	}
	if len(seen) != 6 {
		t.Errorf("events of %d sockets were handled, want 6", len(seen))
	}
}

func TestRepeats(t *testing.T) {
	handled := make(chan string, 10)
	w := serve(t, eventserver.Service{Routes: []eventserver.Route{
		handle(echo),
		{Event: "once", Handle: func(_ context.Context, _ *eventserver.Request) (*eventserver.Reply, error) {
			handled <- "once"
			return nil, nil
		}},
		{Event: "depends", Repeatable: true, Write: func(_ context.Context, r *eventserver.Request, done func(*eventserver.Reply, error)) {
			if string(r.Args) == "[]" {
				done(nil, eventserver.ErrNotRepeatable)
				return
			}
			done(nil, nil)
		}},
	}}, eventserver.Limits{})
	repeat := func(name, args string, more ...string) *nats.Subscription {
		e := event(name, args)
		e.Attempt = 1
		for _, m := range more {
			e.More = append(e.More, &eventv1.FollowingEvent{Args: []byte(m)})
		}
		return w.send(t, e)
	}
	silent := []*nats.Subscription{repeat("once", "[1]"), repeat("depends", "[]"), repeat("depends", "[1]", "[]")}
	reply(t, repeat("depends", "[1]", "[2]"))
	if got := said(reply(t, repeat("do", "[1]"))); got != "[1]" {
		t.Errorf("a repeat of a repeatable event = %s, want [1]", got)
	}
	if r := w.ask(t, event("depends", "[]")); r.GetFault().GetCode() != "internal" {
		t.Errorf("ErrNotRepeatable for a first attempt = %v, want internal", r)
	}
	if err := end(t, w); err != nil {
		t.Fatal(err)
	}
	_ = w.gateway.Flush() // everything that was answered is here
	for i, s := range silent {
		if n, _, _ := s.Pending(); n != 0 {
			t.Errorf("repeat %d is answered, want silence", i)
		}
	}
	if len(handled) != 0 {
		t.Error("an event that cannot be repeated was handled again")
	}
}

// TestOverflow fills the only worker and its queue, and then the bytes.
func TestOverflow(t *testing.T) {
	started, release := make(chan struct{}, 10), make(chan struct{})
	w := serve(t, eventserver.Service{Routes: []eventserver.Route{
		handle(func(context.Context, *eventserver.Request) (*eventserver.Reply, error) {
			started <- struct{}{}
			<-release
			return nil, nil
		}),
		{Event: "write", Write: func(_ context.Context, _ *eventserver.Request, done func(*eventserver.Reply, error)) { done(nil, nil) }},
	}}, eventserver.Limits{Workers: 1, WorkerQueue: 1, PendingBytes: 10_000})
	first := w.send(t, event("do", "[]"))
	<-started
	second := w.send(t, event("do", "[]"))
	third := w.ask(t, event("do", "[]"))
	if third.GetFault().GetCode() != "unavailable" || third.GetFault().GetRetryAfterMs() == 0 {
		t.Errorf("an event over the bound = %v, want unavailable with a time to retry", third)
	}
	if r := w.ask(t, event("write", "[]")); r.GetFault() != nil {
		t.Errorf("a Write while all workers are busy = %v, want success", r)
	}
	big := w.ask(t, event("write", `["`+strings.Repeat("x", 10_000)+`"]`))
	if big.GetFault().GetCode() != "unavailable" {
		t.Errorf("an event over PendingBytes = %v, want unavailable", big)
	}
	close(release)
	for _, a := range []*nats.Subscription{first, second} {
		if r := reply(t, a); r.GetFault() != nil {
			t.Errorf("an event within the bounds = %v, want success", r)
		}
	}
}

// TestDrain stops a Server that has events in work.
func TestDrain(t *testing.T) {
	started, release := make(chan struct{}, 10), make(chan struct{})
	w := serve(t, eventserver.Service{Routes: []eventserver.Route{
		handle(func(context.Context, *eventserver.Request) (*eventserver.Reply, error) {
			started <- struct{}{}
			<-release
			return nil, nil
		}),
		{Event: "write", Write: func(_ context.Context, _ *eventserver.Request, done func(*eventserver.Reply, error)) {
			started <- struct{}{}
			go func() { <-release; done(nil, nil); done(nil, nil) }() // the second time counts for nothing
		}},
	}}, eventserver.Limits{Timeout: patience})
	answers := []*nats.Subscription{w.send(t, event("do", "[]")), w.send(t, event("write", "[]"))}
	<-started
	<-started
	w.stop()
	for !w.missing(t, "do") { // it takes no more
		time.Sleep(time.Millisecond)
	}
	close(release)
	for _, a := range answers {
		if r := reply(t, a); said(r) != `[{"ok":true}]` {
			t.Errorf("an event taken before the end = %v, want success", r)
		}
	}
	if err := end(t, w); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

// TestLostAnswer has a route that never answers: the end does not wait for it for ever.
func TestLostAnswer(t *testing.T) {
	started := make(chan struct{}, 1)
	w := serve(t, eventserver.Service{Routes: []eventserver.Route{{
		Event: "write", Write: func(context.Context, *eventserver.Request, func(*eventserver.Reply, error)) { started <- struct{}{} },
	}}}, eventserver.Limits{Timeout: time.Millisecond})
	w.send(t, event("write", "[]"))
	<-started
	if err := end(t, w); err == nil {
		t.Error("Run = nil, want an error that names the loss")
	}
}

// TestBegin has gateways know the service, and no event reach it, before it is ready.
func TestBegin(t *testing.T) {
	begin := make(chan struct{})
	w := serve(t, eventserver.Service{Routes: []eventserver.Route{handle(echo)}, Begin: begin}, eventserver.Limits{})
	if !w.missing(t, "do") {
		t.Error("an event is taken before Begin is closed")
	}
	close(begin)
	w.await(t, "do")
	if err := end(t, w); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	never := serve(t, eventserver.Service{Routes: []eventserver.Route{handle(echo)}, Begin: make(chan struct{})}, eventserver.Limits{})
	if err := end(t, never); err != nil {
		t.Errorf("Run of a service that never began = %v, want nil", err)
	}
}

func TestCatalog(t *testing.T) {
	w := serve(t, eventserver.Service{Routes: []eventserver.Route{
		handle(echo),
		{Event: "order:list", Namespaces: []string{"*"}, Large: true, Handle: echo},
		{Event: "order:star", Repeatable: true, OneAtATime: true, Handle: echo},
	}}, eventserver.Limits{})
	announced, err := w.gateway.SubscribeSync(subject.CatalogAnnounce)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.gateway.Publish(subject.CatalogAsk, nil); err != nil {
		t.Fatal(err)
	}
	m, err := announced.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	var got eventv1.Catalog
	if err := proto.Unmarshal(m.Data, &got); err != nil {
		t.Fatal(err)
	}
	want := &eventv1.Catalog{
		Service: "test-service", Batch: 32, Repeats: true,
		Patterns: []string{"client.v1.*.order.list", "client.v1.root.do", "client.v1.root.order.star"},
		Batched:  []string{"client.v1.root.do", "client.v1.root.order.star"}, OneAtATime: []string{"client.v1.root.order.star"},
	}
	if got.GetReplica() == 0 || got.GetClockMs() == 0 {
		t.Errorf("catalog = %v, want a replica with a clock", &got)
	}
	got.Replica, got.ClockMs = 0, 0
	if !proto.Equal(&got, want) {
		t.Errorf("catalog = %v, want %v", &got, want)
	}
}

func TestNewRefuses(t *testing.T) {
	write := func(context.Context, *eventserver.Request, func(*eventserver.Reply, error)) {}
	for name, service := range map[string]eventserver.Service{
		"no name":         {Routes: []eventserver.Route{handle(echo)}},
		"a wildcard":      {Name: "a.*", Routes: []eventserver.Route{handle(echo)}},
		"no handler":      {Name: "a", Routes: []eventserver.Route{{Event: "e"}}},
		"one at a time":   {Name: "a", Routes: []eventserver.Route{{Event: "e", OneAtATime: true, Handle: echo}}},
		"two handlers":    {Name: "a", Routes: []eventserver.Route{{Event: "e", Handle: echo, Write: write}}},
		"no event":        {Name: "a", Routes: []eventserver.Route{{Handle: echo}}},
		"the same twice":  {Name: "a", Routes: []eventserver.Route{handle(echo), handle(echo)}},
		"within all":      {Name: "a", Routes: []eventserver.Route{{Event: "e", Namespaces: []string{"/chat", "*"}, Handle: echo}}},
		"a name too long": {Name: "a", Routes: []eventserver.Route{{Event: strings.Repeat("e", 200), Handle: echo}}},
	} {
		if _, err := eventserver.New(nil, service, eventserver.Limits{}, nil, nil); err == nil {
			t.Errorf("New with %s = nil, want an error", name)
		}
	}
}

func TestArgs(t *testing.T) {
	type order struct {
		Table int `json:"table"`
	}
	for args, want := range map[string]string{
		`[{"table":7}]`: "", `[{"table":7.0}]`: "", `[{"x":[0.5],"table":7e0}]`: "", `[]`: "argument 1 is missing", `{`: "argument 1 is missing",
		`[{"table":"x"}]`: "table has the wrong type", `[{"table":7.5}]`: "table has the wrong type", `["x"]`: "argument 1 has the wrong type",
	} {
		var o order
		err := (&eventserver.Request{Args: []byte(args)}).Arg(0, &o)
		if want == "" && (err != nil || o.Table != 7) || want != "" && !errors.Is(err, fault.New(fault.Invalid, want)) {
			t.Errorf("Arg(0) of %s = %v and %v, want %q", args, o, err, want)
		}
	}
	for want, fields := range map[string]any{
		`[{"ok":true}]`: nil, `[{"ok":true,"table":7}]`: order{7}, `[{"ok":true,"a":"b"}]`: map[string]string{"a": "b"},
	} {
		if r, err := eventserver.Ack(fields); err != nil || string(r.Args) != want {
			t.Errorf("Ack(%v) = %v, %v, want %s", fields, r, err, want)
		}
	}
	if r, err := eventserver.Ack([]int{1}); err == nil {
		t.Errorf("Ack of an array = %v, want an error", r)
	}
}
