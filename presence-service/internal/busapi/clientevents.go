package busapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/presence-service/internal/presence"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	eventGet     = "presence:get"
	eventWorkers = 16
	eventQueue   = 256             // events waiting for a worker; beyond it, unavailable
	eventTimeout = 3 * time.Second // less than a gateway's patience, so that it hears why
	retryAfter   = time.Second
	drainTimeout = 2 * time.Second
)

// ClientEvents answers presence:get. The replicas share the events by a queue group.
type ClientEvents struct {
	conn    *nats.Conn
	queue   string
	query   *presence.Query
	begin   <-chan struct{}
	log     *slog.Logger
	results *prometheus.CounterVec
}

// NewClientEvents makes the answerer and registers its metric. It takes no events before begin is closed, so that the
// other replicas get them.
func NewClientEvents(conn *nats.Conn, queue string, query *presence.Query, begin <-chan struct{}, log *slog.Logger, metrics prometheus.Registerer) *ClientEvents {
	e := &ClientEvents{
		conn: conn, queue: queue, query: query, begin: begin, log: log,
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "starling_client_events_total", Help: "Client events answered, by event and result (ok or the fault's code).",
		}, []string{"event", "result"}),
	}
	metrics.MustRegister(e.results)
	return e
}

// Patterns lists the subjects of the events answered, for the Catalog.
func Patterns() ([]string, error) {
	pattern, err := subject.ClientEventPattern("*", eventGet)
	if err != nil {
		return nil, fmt.Errorf("pattern of %s: %w", eventGet, err)
	}
	return []string{pattern}, nil
}

// Run answers until ctx ends, and then what has arrived by then.
func (e *ClientEvents) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-e.begin:
	}
	patterns, err := Patterns()
	if err != nil {
		return err
	}
	work := make(chan *nats.Msg, eventQueue)
	var workers sync.WaitGroup
	finish := context.WithoutCancel(ctx) // what was taken is answered; each event has its timeout
	for range eventWorkers {
		workers.Go(func() {
			for m := range work {
				e.respond(finish, m, e.answer(finish, m))
			}
		})
	}
	var drained []<-chan struct{}
	for _, pattern := range patterns {
		sub, closed, err := e.subscribe(ctx, pattern, work)
		if err != nil {
			close(work)
			workers.Wait()
			return err
		}
		defer func() { _ = sub.Unsubscribe() }()
		defer context.AfterFunc(ctx, func() { _ = sub.Drain() })()
		drained = append(drained, closed)
	}
	<-ctx.Done()
	late := time.NewTimer(drainTimeout)
	defer late.Stop()
	for _, closed := range drained {
		select {
		case <-closed:
		case <-late.C: // NATS is away: nothing comes in, and nothing could be answered
			return nil
		}
	}
	close(work)
	workers.Wait()
	return nil
}

// subscribe hands events to the workers, or refuses them at once when all are busy.
func (e *ClientEvents) subscribe(ctx context.Context, pattern string, work chan<- *nats.Msg) (*nats.Subscription, <-chan struct{}, error) {
	sub, err := e.conn.QueueSubscribe(pattern, e.queue, func(m *nats.Msg) {
		select {
		case work <- m:
		default:
			e.respond(ctx, m, refuse(fault.Retry(fault.Unavailable, "Too many requests at once", retryAfter)))
		}
	})
	if err != nil {
		return nil, nil, fmt.Errorf("subscribe to %s: %w", pattern, err)
	}
	closed := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(closed) })
	return sub, closed, nil
}

func (e *ClientEvents) respond(ctx context.Context, m *nats.Msg, reply *eventv1.ClientReply) {
	raw, err := proto.Marshal(reply)
	if err == nil && int64(len(raw)) > e.conn.MaxPayload() {
		reply = refuse(fault.New(fault.TooLarge, "The answer is too large"))
		raw, err = proto.Marshal(reply)
	}
	result := "ok"
	if f := reply.GetFault(); f != nil {
		result = f.GetCode()
	}
	e.results.WithLabelValues(eventGet, result).Inc()
	if err == nil && m.Reply != "" {
		err = e.conn.Publish(m.Reply, raw)
	}
	if err != nil {
		e.log.LogAttrs(ctx, slog.LevelDebug, "reply failed", slog.Any("error", err))
	}
}

func refuse(f *fault.Error) *eventv1.ClientReply { return &eventv1.ClientReply{Fault: f.ToProto()} }

func (e *ClientEvents) answer(ctx context.Context, m *nats.Msg) *eventv1.ClientReply {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	ack, err := e.get(ctx, m.Data)
	if err == nil {
		return &eventv1.ClientReply{AckArgs: ack}
	}
	return refuse(fault.Log(ctx, e.log, toFault(err), slog.String("event", eventGet)))
}

// get answers one presence:get with the ack's arguments.
func (e *ClientEvents) get(ctx context.Context, raw []byte) ([]byte, error) {
	var event eventv1.ClientEvent
	if err := proto.Unmarshal(raw, &event); err != nil {
		return nil, fmt.Errorf("decode client event: %w", err)
	}
	user := presence.UserID(event.GetIdentity().GetUserId())
	if user == "" {
		return nil, fault.New(fault.Unauthenticated, "Authentication required")
	}
	args, err := parseGet(event.GetArgs())
	if err != nil {
		return nil, err
	}
	var statuses []presence.Status
	if args.room != "" {
		statuses, err = e.query.Room(ctx, args.room, user)
	} else {
		statuses, err = e.query.Users(ctx, args.users)
	}
	if err != nil {
		return nil, err
	}
	return encodeStatuses(statuses)
}

type ackJSON struct {
	OK    bool       `json:"ok"`
	Users []userJSON `json:"users"`
}

// userJSON has lastSeen null for users who are online (they are seen now) and for those never seen.
type userJSON struct {
	UserID   string  `json:"userId"`
	Online   bool    `json:"online"`
	LastSeen *string `json:"lastSeen"`
}

func encodeStatuses(statuses []presence.Status) ([]byte, error) {
	ack := ackJSON{OK: true, Users: make([]userJSON, len(statuses))}
	for i, s := range statuses {
		ack.Users[i] = userJSON{UserID: string(s.User), Online: s.Online}
		if !s.LastSeen.IsZero() {
			text := presence.FormatTime(s.LastSeen)
			ack.Users[i].LastSeen = &text
		}
	}
	raw, err := json.Marshal([]ackJSON{ack})
	if err != nil {
		return nil, fmt.Errorf("encode ack: %w", err)
	}
	return raw, nil
}

// toFault maps the domain's refusals to faults.
func toFault(err error) error {
	switch {
	case errors.Is(err, presence.ErrWarming), errors.Is(err, presence.ErrUnavailable):
		return &fault.Error{Kind: fault.Unavailable, Message: "Presence is unavailable", RetryAfter: retryAfter, Cause: err}
	case errors.Is(err, presence.ErrTooLarge):
		return fault.New(fault.TooLarge, "The room has too many members")
	}
	return err
}
