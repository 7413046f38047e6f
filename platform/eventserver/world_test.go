package eventserver_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/eventserver"
	"github.com/starling-chat/starling/proto/fault/faulttest"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// patience guards against hanging.
const patience = 30 * time.Second

// world is a running Server and a connection as a gateway has it.
type world struct {
	gateway  *nats.Conn
	log      faulttest.Log
	registry *prometheus.Registry
	stop     context.CancelFunc
	ended    chan error // what Run returned
}

func serve(t *testing.T, service eventserver.Service, limits eventserver.Limits) *world {
	t.Helper()
	broker := bustest.Server(t)
	w := &world{gateway: bustest.Connect(t, broker), registry: prometheus.NewRegistry(), ended: make(chan error, 1)}
	announced := w.catalogs(t)
	service.Name = "test-service"
	if limits.Timeout == 0 {
		limits.Timeout = patience // a busy machine is no reason to refuse
	}
	limits.Stall = time.Hour // nor one that stands still
	server, err := eventserver.New(bustest.Connect(t, broker), service, limits, w.registry, w.log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	go func() { w.ended <- server.Run(ctx) }()
	t.Cleanup(stop)
	if _, err := announced.NextMsg(patience); err != nil {
		t.Fatalf("no catalog: %v", err)
	}
	if service.Begin == nil {
		for _, r := range service.Routes {
			w.await(t, r.Event)
		}
	}
	return w
}

// catalogs listens to what services announce.
func (w *world) catalogs(t *testing.T) *nats.Subscription {
	t.Helper()
	announced, err := w.gateway.SubscribeSync(subject.CatalogAnnounce)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.gateway.Flush(); err != nil {
		t.Fatal(err)
	}
	return announced
}

// await waits until somebody answers an event on "/".
func (w *world) await(t *testing.T, event string) {
	t.Helper()
	for w.missing(t, event) {
		time.Sleep(time.Millisecond)
	}
}

// missing tells whether nobody answers an event on "/"; it asks without an identity.
func (w *world) missing(t *testing.T, event string) bool {
	t.Helper()
	to, err := subject.ClientEvent("/", event)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.gateway.Request(to, nil, patience)
	return errors.Is(err, nats.ErrNoResponders)
}

// event is a client event of ann with these arguments.
func event(name, args string) *eventv1.ClientEvent {
	return &eventv1.ClientEvent{
		SocketId: "s1", GatewayId: "g1", Namespace: "/", Event: name, Args: []byte(args),
		Identity: &eventv1.Identity{UserId: "ann", Name: "Ann", Role: "user"},
	}
}

// send asks as a gateway does, and returns where the answer will come.
func (w *world) send(t *testing.T, e *eventv1.ClientEvent) *nats.Subscription {
	t.Helper()
	to, err := subject.ClientEvent(e.GetNamespace(), e.GetEvent())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	inbox := w.gateway.NewInbox()
	answer, err := w.gateway.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.gateway.PublishRequest(to, inbox, raw); err != nil {
		t.Fatal(err)
	}
	return answer
}

func reply(t *testing.T, answer *nats.Subscription) *eventv1.ClientReply {
	t.Helper()
	m, err := answer.NextMsg(patience)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	var r eventv1.ClientReply
	if err := proto.Unmarshal(m.Data, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func (w *world) ask(t *testing.T, e *eventv1.ClientEvent) *eventv1.ClientReply {
	t.Helper()
	return reply(t, w.send(t, e))
}

// said is the answer in one line.
func said(r *eventv1.ClientReply) string {
	if f := r.GetFault(); f != nil {
		return f.GetCode() + " " + f.GetMessage()
	}
	return string(r.GetAckArgs())
}

func end(t *testing.T, w *world) error {
	t.Helper()
	w.stop()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(patience):
		t.Fatal("Run does not end")
		return nil
	}
}
