package clientevents

import (
	"context"
	"errors"
	"time"

	"github.com/starling-chat/starling/platform/eventserver"
	"github.com/starling-chat/starling/presence-service/internal/presence"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/isotime"
)

const (
	workers    = 16
	timeout    = 3 * time.Second // less than a gateway's patience, so that it hears why
	retryAfter = time.Second
)

// Limits bound the client events in work.
func Limits(stall time.Duration) eventserver.Limits {
	return eventserver.Limits{Workers: workers, Timeout: timeout, Stall: stall}
}

// Routes lists the client events of this service; docs/events.md has their arguments and acks.
func Routes(query *presence.Query) []eventserver.Route {
	return []eventserver.Route{{
		Event: "presence:get", Namespaces: []string{"*"}, Large: true, Repeatable: true,
		Handle: func(ctx context.Context, r *eventserver.Request) (*eventserver.Reply, error) {
			return get(ctx, query, r)
		},
	}}
}

// get answers presence:get.
func get(ctx context.Context, query *presence.Query, r *eventserver.Request) (*eventserver.Reply, error) {
	args, err := parseGet(r.Args)
	if err != nil {
		return nil, err
	}
	as := presence.Asker{User: presence.UserID(r.User.ID), Opens: r.User.Rooms}
	var statuses []presence.Status
	var denied []presence.UserID
	if args.room != "" {
		statuses, err = query.Room(ctx, args.room, as)
	} else {
		statuses, denied, err = query.UsersAs(ctx, as, args.users)
	}
	if err != nil {
		return nil, toFault(err)
	}
	return reply(statuses, denied)
}

type ackJSON struct {
	Users  []userJSON        `json:"users"`
	Denied []presence.UserID `json:"denied,omitempty"`
}

// userJSON has lastSeen null for users who are online (they are seen now) and for those never seen.
type userJSON struct {
	UserID   string  `json:"userId"`
	Online   bool    `json:"online"`
	LastSeen *string `json:"lastSeen"`
}

func reply(statuses []presence.Status, denied []presence.UserID) (*eventserver.Reply, error) {
	ack := ackJSON{Users: make([]userJSON, len(statuses)), Denied: denied}
	for i, s := range statuses {
		ack.Users[i] = userJSON{UserID: string(s.User), Online: s.Online}
		if !s.LastSeen.IsZero() {
			text := isotime.Format(s.LastSeen)
			ack.Users[i].LastSeen = &text
		}
	}
	return eventserver.Ack(ack)
}

// toFault maps the domain's refusals to faults.
func toFault(err error) error {
	switch {
	case errors.Is(err, presence.ErrWarming), errors.Is(err, presence.ErrUnavailable):
		return &fault.Error{Kind: fault.Unavailable, Message: "Presence is unavailable", RetryAfter: retryAfter, Cause: err}
	case errors.Is(err, presence.ErrOff):
		return fault.New(fault.Forbidden, "Presence is turned off here")
	case errors.Is(err, presence.ErrTooLarge):
		return fault.New(fault.TooLarge, "The room has too many members")
	}
	return err
}
