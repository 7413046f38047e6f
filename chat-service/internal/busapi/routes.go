package busapi

import (
	"context"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/namespaces"
)

// route is one client event. docs/events.md has arguments and acks.
type route struct {
	event      string
	namespaces []string
	send       bool // message:send and its short form: answered by the Writer; repeatable with a clientMsgId
	large      bool // its answer is: one a request
	repeatable bool // doing it again, and late, changes nothing: not so room:leave, after which the user may have come back
	handle     func(ctx context.Context, s *Server, r *request) (*eventv1.ClientReply, error)
}

// routes lists the client events of this service. room:join is missing on purpose: a gateway asks by gRPC, since it has
// to order the join with the room's live events.
func routes() []route {
	both := namespaces.WithRooms()
	notifications := []string{namespaces.Notifications}
	return []route{
		{event: "message:send", namespaces: both, send: true},
		{event: "message", namespaces: []string{namespaces.Chat}, send: true},
		{event: "message:read", namespaces: both, repeatable: true, handle: messageRead},
		{event: "message:history", namespaces: both, large: true, repeatable: true, handle: messageHistory},
		{event: "room:leave", namespaces: both, handle: roomLeave},
		{event: "room:list", namespaces: both, large: true, repeatable: true, handle: roomList},
		{event: "room:message", namespaces: both, handle: roomMessage},
		{event: "typing:start", namespaces: both, repeatable: true, handle: typingStart},
		{event: "typing:stop", namespaces: both, repeatable: true, handle: typingStop},
		{event: "chat:message", namespaces: both, handle: chatMessage},
		{event: "announcement", namespaces: both, handle: announcement},
		{event: "notification:list", namespaces: notifications, large: true, repeatable: true, handle: notificationList},
		{event: "notification:read", namespaces: notifications, repeatable: true, handle: notificationRead},
	}
}

// ok is the plain success, unless err.
func ok(err error) (*eventv1.ClientReply, error) {
	if err != nil {
		return nil, err
	}
	return &eventv1.ClientReply{AckArgs: []byte(wire.OK)}, nil
}

func messageRead(ctx context.Context, s *Server, r *request) (*eventv1.ClientReply, error) {
	room, id, err := wire.MessageRead(r.event.GetArgs())
	if err != nil {
		return nil, err
	}
	return ok(wait(ctx, func(done func(error)) error { return s.service.MarkRead(r.caller, room, id, done) }))
}

func messageHistory(ctx context.Context, s *Server, r *request) (*eventv1.ClientReply, error) {
	room, page, err := wire.MessageHistory(r.event.GetArgs())
	if err != nil {
		return nil, err
	}
	view, err := s.service.History(ctx, r.caller.User, room, page)
	if err != nil {
		return nil, err
	}
	return &eventv1.ClientReply{AckArgs: wire.HistoryAck(view)}, nil
}

func roomLeave(ctx context.Context, s *Server, r *request) (*eventv1.ClientReply, error) {
	room, err := wire.RoomOnly(r.event.GetArgs())
	if err != nil {
		return nil, err
	}
	return ok(wait(ctx, func(done func(error)) error { return s.service.Leave(r.caller, room, done) }))
}

func roomList(ctx context.Context, s *Server, r *request) (*eventv1.ClientReply, error) {
	rooms, err := s.service.Rooms(ctx, r.caller.User)
	if err != nil {
		return nil, err
	}
	return &eventv1.ClientReply{AckArgs: wire.RoomListAck(rooms)}, nil
}

func roomMessage(ctx context.Context, s *Server, r *request) (*eventv1.ClientReply, error) {
	room, args, err := wire.RoomMessage(r.event.GetArgs(), r.caller.User, time.Now().UnixMilli())
	if err != nil {
		return nil, err
	}
	return ok(s.service.RoomMessage(ctx, r.caller, room, passOn(r, args)))
}

func typingStart(ctx context.Context, s *Server, r *request) (*eventv1.ClientReply, error) {
	room, err := wire.RoomOnly(r.event.GetArgs())
	if err != nil {
		return nil, err
	}
	return ok(s.service.StartTyping(ctx, r.caller, room))
}

func typingStop(ctx context.Context, s *Server, r *request) (*eventv1.ClientReply, error) {
	room, err := wire.RoomOnly(r.event.GetArgs())
	if err != nil {
		return nil, err
	}
	return ok(s.service.StopTyping(ctx, r.caller, room))
}

func chatMessage(_ context.Context, s *Server, r *request) (*eventv1.ClientReply, error) {
	id, args, err := wire.ChatMessage(r.event.GetArgs(), r.caller.User, time.Now().UnixMilli())
	if err != nil {
		return nil, err
	}
	if err := s.service.Broadcast(r.caller, passOn(r, args)); err != nil {
		return nil, err
	}
	return &eventv1.ClientReply{AckArgs: []byte(wire.OK), Emits: []*eventv1.Emit{wire.ReceivedEmit(id)}}, nil
}

func announcement(_ context.Context, s *Server, r *request) (*eventv1.ClientReply, error) {
	args, err := wire.Anything(r.event.GetArgs())
	if err != nil {
		return nil, err
	}
	return ok(s.service.Announce(r.caller, passOn(r, args)))
}

func notificationList(ctx context.Context, s *Server, r *request) (*eventv1.ClientReply, error) {
	before, limit, err := wire.NotificationList(r.event.GetArgs())
	if err != nil {
		return nil, err
	}
	list, unread, err := s.service.Notifications(ctx, r.caller, before, limit)
	if err != nil {
		return nil, err
	}
	return &eventv1.ClientReply{AckArgs: wire.NotificationsAck(list, unread)}, nil
}

func notificationRead(ctx context.Context, s *Server, r *request) (*eventv1.ClientReply, error) {
	ids, err := wire.NotificationRead(r.event.GetArgs())
	if err != nil {
		return nil, err
	}
	left := 0
	err = wait(ctx, func(done func(error)) error {
		return s.service.MarkNotifications(r.caller, ids, func(unread int, err error) { left = unread; done(err) })
	})
	if err != nil {
		return nil, err
	}
	return &eventv1.ClientReply{AckArgs: wire.UnreadAck(left)}, nil
}

// wait keeps a worker until a write is done.
func wait(ctx context.Context, write func(done func(error)) error) error {
	result := make(chan error, 1)
	if err := write(func(err error) { result <- err }); err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// passOn is the event as others get it, with the sender's binary attachments.
func passOn(r *request, args []byte) chat.Emit {
	return chat.Emit{Event: r.route.event, Args: args, Attachments: r.event.GetAttachments()}
}
