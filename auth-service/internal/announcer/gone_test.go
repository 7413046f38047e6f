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

// departed is a Store of users who are no more.
type departed struct {
	NameStore

	gone []auth.UserID
}

func (d *departed) Gone(_ context.Context, limit int) ([]auth.UserID, error) {
	return slices.Clone(d.gone[:min(limit, len(d.gone))]), nil
}

func (d *departed) Left(_ context.Context, ids []auth.UserID) error {
	d.gone = slices.DeleteFunc(d.gone, func(id auth.UserID) bool { return slices.Contains(ids, id) })
	return nil
}

// TestLeaveFirst: nobody is taken off the list whom chat-service has not had leave; all are in the end, however many.
func TestLeaveFirst(t *testing.T) {
	nc := bustest.Connect(t, bustest.Server(t))
	const many = 2*maxGone + 1
	store := &departed{}
	for i := range many {
		store.gone = append(store.gone, auth.UserID(fmt.Sprint("user ", i)))
	}
	a := New(nc, store, slog.New(slog.DiscardHandler))
	if err := a.announceGone(t.Context()); err == nil || len(store.gone) != many {
		t.Errorf("announceGone() without chat-service = %v, %d are left, want an error, and all of them", err, len(store.gone))
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
	if err := a.announceGone(t.Context()); err != nil || len(store.gone) != 0 || len(told) != many {
		t.Errorf("announceGone() = %v, %d are left, %d have left their rooms, want none, all", err, len(store.gone), len(told))
	}
	if n := <-told; n.GetUserId() != "user 0" || !n.GetGone() || n.GetName() != "" {
		t.Errorf("chat-service was told %v, want that user 0 is gone", n)
	}
}
