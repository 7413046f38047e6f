package announcer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/bus/bustest"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// guestHouse is a Store of guests who are over.
type guestHouse struct {
	NameStore

	over []auth.UserID
}

func (g *guestHouse) GuestsOver(_ context.Context, limit int) ([]auth.UserID, error) {
	return slices.Clone(g.over[:min(limit, len(g.over))]), nil
}

func (g *guestHouse) DropGuests(_ context.Context, ids []auth.UserID) error {
	g.over = slices.DeleteFunc(g.over, func(id auth.UserID) bool { return slices.Contains(ids, id) })
	return nil
}

// TestGuestsLeaveFirst: nobody is forgotten whom chat-service has not had leave; all are in the end, however many.
func TestGuestsLeaveFirst(t *testing.T) {
	nc := bustest.Connect(t, bustest.Server(t))
	const many = 2*maxGone + 1
	house := &guestHouse{}
	for i := range many {
		house.over = append(house.over, auth.UserID(fmt.Sprint("guest ", i)))
	}
	a := New(nc, house, slog.New(slog.DiscardHandler))
	if err := a.forgetGuests(t.Context()); err == nil || len(house.over) != many {
		t.Errorf("forgetGuests() without chat-service = %v, %d are left, want an error, and all of them", err, len(house.over))
	}
	told := make(chan *eventv1.UserName, many)
	if _, err := nc.Subscribe(subject.Named, func(msg *nats.Msg) {
		var names eventv1.UserNames
		_ = proto.Unmarshal(msg.Data, &names)
		for _, n := range names.GetNames() {
			told <- n
		}
		_ = msg.Respond(nil)
	}); err != nil {
		t.Fatal(err)
	}
	if err := a.forgetGuests(t.Context()); err != nil || len(house.over) != 0 || len(told) != many {
		t.Errorf("forgetGuests() = %v, %d are left, %d have left their rooms, want none, all", err, len(house.over), len(told))
	}
	if n := <-told; n.GetUserId() != "guest 0" || !n.GetGone() || n.GetName() != "" {
		t.Errorf("chat-service was told %v, want that guest 0 is gone", n)
	}
}
