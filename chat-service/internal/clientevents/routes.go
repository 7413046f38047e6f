package clientevents

import (
	"context"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/eventserver"
	"github.com/starling-chat/starling/proto/namespaces"
)

// Routes lists the client events of this service; docs/events.md has their arguments and acks. Some can be repeated only by a key, which tells
// that it is the same event: after a room:leave, say, the user may have come back. The others that change something are OneAtATime.
func Routes(service *usecases.Service) []eventserver.Route {
	e := events{service}
	both := namespaces.WithRooms()
	notifications := []string{namespaces.Notifications}
	return append(e.messageRoutes(both), []eventserver.Route{
		{Event: "message:send", Namespaces: both, Repeatable: true, Write: write(e.send)},
		{Event: "message", Namespaces: []string{namespaces.Chat}, Repeatable: true, Write: write(e.send)},
		{Event: "message:read", Namespaces: both, Repeatable: true, OneAtATime: true, Write: write(e.read)},
		{Event: "room:mark-unread", Namespaces: both, Repeatable: true, OneAtATime: true, Handle: patient(handle(e.markUnread))},
		{Event: "message:readers", Namespaces: both, Large: true, Repeatable: true, Handle: handle(e.readers)},
		{Event: "message:history", Namespaces: both, Large: true, Repeatable: true, Handle: handle(e.history)},
		{Event: "room:create", Namespaces: both, Repeatable: true, Handle: handleBy(repeatedByKey, e.create)},
		{Event: "room:open", Namespaces: both, Repeatable: true, OneAtATime: true, Handle: patient(handleBy(keyed, e.open))},
		{Event: "room:get", Namespaces: both, Repeatable: true, Handle: handle(e.room)},
		{Event: "room:members", Namespaces: both, Large: true, Repeatable: true, Handle: handle(e.members)},
		{Event: "room:leave", Namespaces: both, Repeatable: true, Write: writeBy(repeatedByKey, e.leave)},
		{Event: "room:update", Namespaces: both, Repeatable: true, Write: act(e.update)},
		{Event: "room:archive", Namespaces: both, Repeatable: true, Write: act(e.archive)},
		{Event: "room:delete", Namespaces: both, Repeatable: true, Write: act(e.deleteRoom)},
		{Event: "room:add", Namespaces: both, Repeatable: true, Write: act(e.add)},
		{Event: "room:remove", Namespaces: both, Repeatable: true, Write: act(e.remove)},
		{Event: "room:set-role", Namespaces: both, Repeatable: true, Write: act(e.setRole)},
		{Event: "room:ban", Namespaces: both, Repeatable: true, Write: act(e.restrict(false, true))},
		{Event: "room:unban", Namespaces: both, Repeatable: true, Write: act(e.restrict(false, false))},
		{Event: "room:mute", Namespaces: both, Repeatable: true, Write: act(e.restrict(true, true))},
		{Event: "room:unmute", Namespaces: both, Repeatable: true, Write: act(e.restrict(true, false))},
		{Event: "room:prefs", Namespaces: both, Repeatable: true, OneAtATime: true, Write: writeBy(keyed, e.prefs)},
		{Event: "room:invite", Namespaces: both, Repeatable: true, Handle: handleBy(repeatedByKey, e.invite)},
		{Event: "room:invites", Namespaces: both, Large: true, Repeatable: true, Handle: handle(e.invites)},
		{Event: "room:revoke-invite", Namespaces: both, Repeatable: true, Write: act(e.revokeInvite)},
		{Event: "user:block", Namespaces: both, Repeatable: true, OneAtATime: true, Handle: patient(handleBy(keyed, e.block(false)))},
		{Event: "user:unblock", Namespaces: both, Repeatable: true, OneAtATime: true, Handle: patient(handleBy(keyed, e.block(true)))},
		{Event: "user:blocks", Namespaces: both, Large: true, Repeatable: true, Handle: handle(e.blocks)},
		{Event: "room:list", Namespaces: both, Large: true, Repeatable: true, Handle: handle(e.rooms)},
		{Event: "room:message", Namespaces: both, Handle: handle(e.roomMessage)},
		{Event: "typing:start", Namespaces: both, Repeatable: true, OneAtATime: true, Handle: handle(e.startTyping)},
		{Event: "typing:stop", Namespaces: both, Repeatable: true, OneAtATime: true, Handle: handle(e.stopTyping)},
		{Event: "chat:message", Namespaces: both, Handle: handle(e.broadcast)},
		{Event: "announcement", Namespaces: both, Handle: handle(e.announce)},
		{Event: "notification:list", Namespaces: notifications, Large: true, Repeatable: true, Handle: handle(e.notifications)},
		{Event: "notification:read", Namespaces: notifications, Repeatable: true, OneAtATime: true, Write: write(e.readNotifications)},
	}...)
}

// events are the handlers.
type events struct{ service *usecases.Service }

// handle gives an event to f together with who sent it.
func handle(
	f func(context.Context, usecases.Caller, *eventserver.Request) (*eventserver.Reply, error),
) func(context.Context, *eventserver.Request) (*eventserver.Reply, error) {
	return handleBy(caller, f)
}

// handleBy is handle for an event of which who tells by whom it is, and by which key.
func handleBy(
	who func(*eventserver.Request) (usecases.Caller, error),
	f func(context.Context, usecases.Caller, *eventserver.Request) (*eventserver.Reply, error),
) func(context.Context, *eventserver.Request) (*eventserver.Reply, error) {
	return func(ctx context.Context, r *eventserver.Request) (*eventserver.Reply, error) {
		c, err := who(r)
		if err != nil {
			return nil, err
		}
		return f(ctx, c, r)
	}
}

// patient has f go on for as long as its answer is waited for, although the attempt may be begun for less. For what looks at the time itself
// when it does what it was asked for.
func patient(f func(context.Context, *eventserver.Request) (*eventserver.Reply, error)) func(context.Context, *eventserver.Request) (*eventserver.Reply, error) {
	return func(ctx context.Context, r *eventserver.Request) (*eventserver.Reply, error) {
		if r.Grace > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(context.WithoutCancel(ctx), r.Deadline.Add(r.Grace))
			defer cancel()
		}
		return f(ctx, r)
	}
}

// write is handle for an event that is answered after a commit: f calls done once, unless it returns an error.
func write(
	f func(usecases.Caller, *eventserver.Request, func(*eventserver.Reply, error)) error,
) func(context.Context, *eventserver.Request, func(*eventserver.Reply, error)) {
	return writeBy(caller, f)
}

// writeBy is to write what handleBy is to handle.
func writeBy(
	who func(*eventserver.Request) (usecases.Caller, error),
	f func(usecases.Caller, *eventserver.Request, func(*eventserver.Reply, error)) error,
) func(context.Context, *eventserver.Request, func(*eventserver.Reply, error)) {
	return func(_ context.Context, r *eventserver.Request, done func(*eventserver.Reply, error)) {
		c, err := who(r)
		if err == nil {
			err = f(c, r, done)
		}
		if err != nil {
			done(nil, err)
		}
	}
}

// caller is who sent an event.
func caller(r *eventserver.Request) (usecases.Caller, error) {
	return wire.Sender{
		UserID: r.User.ID, Name: r.User.Name, NameVersion: r.User.NameVersion, Role: r.User.Role,
		Rooms: r.User.Rooms, SocketID: r.SocketID, Namespace: r.Namespace, At: r.ReceivedAt, Trace: r.Trace,
		Until: r.Deadline, Grace: r.Grace,
	}.Caller()
}

// keyed is the caller with the key of an event that may have one.
func keyed(r *eventserver.Request) (usecases.Caller, error) {
	c, err := caller(r)
	if err == nil {
		c.RequestKey, err = wire.RequestKey(r.Args)
	}
	return c, err
}

// repeatedByKey is keyed for an event that does harm when it is done twice: without a key nobody knows whether it was done.
func repeatedByKey(r *eventserver.Request) (usecases.Caller, error) {
	c, err := keyed(r)
	if err == nil && c.RequestKey == "" && r.Attempt > 0 {
		err = eventserver.ErrNotRepeatable
	}
	return c, err
}

// ack is the reply with these arguments.
func ack(args []byte) *eventserver.Reply { return &eventserver.Reply{Args: args} }

// ok is the plain success, unless err.
func ok(err error) (*eventserver.Reply, error) { return nil, err }

// send answers after the commit. A repeat is recognised by its clientMsgId; one without it could store the message twice.
func (e events) send(c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	draft, err := wire.MessageSend(r.Args)
	if err != nil {
		return err
	}
	if r.Attempt > 0 && draft.ClientMsgID == "" {
		return eventserver.ErrNotRepeatable
	}
	return e.service.Send(c, draft, func(o rules.Outcome) {
		if o.Err != nil {
			done(nil, o.Err)
			return
		}
		done(ack(wire.SendAck(o)), nil)
	})
}

func (e events) read(c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	receipt, err := wire.Receipt(r.Args)
	if err != nil {
		return err
	}
	return e.service.MarkRead(c, receipt, func(m chat.Marker, err error) { done(ack(wire.MarkerAck(m)), err) })
}

func (e events) markUnread(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	room, seq, err := wire.MarkUnread(r.Args)
	if err != nil {
		return nil, err
	}
	marker, err := e.service.MarkUnread(ctx, c, room, seq)
	if err != nil {
		return nil, err
	}
	return ack(wire.MarkerAck(marker)), nil
}

func (e events) readers(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	room, page, err := wire.MessageReaders(r.Args)
	if err != nil {
		return nil, err
	}
	readers, err := e.service.Readers(ctx, c, room, page)
	if err != nil {
		return nil, err
	}
	return ack(wire.ReadersAck(readers)), nil
}

func (e events) history(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	room, page, err := wire.MessageHistory(r.Args)
	if err != nil {
		return nil, err
	}
	view, err := e.service.History(ctx, c, room, page)
	if err != nil {
		return nil, err
	}
	return ack(wire.HistoryAck(view)), nil
}

func (e events) leave(c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	room, successor, err := wire.RoomLeave(r.Args)
	if err != nil {
		return err
	}
	return e.service.Leave(c, room, successor, func(err error) { done(nil, err) })
}

func (e events) create(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	request, err := wire.RoomCreate(r.Args)
	if err != nil {
		return nil, err
	}
	info, err := e.service.Create(ctx, c, request)
	if err != nil {
		return nil, err
	}
	return ack(wire.RoomAck(&info)), nil
}

func (e events) open(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	users, err := wire.RoomOpen(r.Args)
	if err != nil {
		return nil, err
	}
	info, created, err := e.service.Open(ctx, c, users)
	if err != nil {
		return nil, err
	}
	return ack(wire.RoomOpenAck(&info, created)), nil
}

func (e events) room(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	id, err := wire.RoomOnly(r.Args)
	if err != nil {
		return nil, err
	}
	info, standing, err := e.service.Room(ctx, c, id)
	if err != nil {
		return nil, err
	}
	var own usecases.Own
	if standing.Member {
		if own, err = e.service.Own(ctx, c, id); err != nil {
			return nil, err
		}
	}
	return ack(wire.RoomGetAck(&info, standing, own)), nil
}

func (e events) members(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	room, page, err := wire.RoomMemberList(r.Args)
	if err != nil {
		return nil, err
	}
	list, err := e.service.MemberList(ctx, c, room, page)
	if err != nil {
		return nil, err
	}
	return ack(wire.MemberListAck(&list)), nil
}

func (e events) rooms(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	page, err := wire.RoomList(r.Args)
	if err != nil {
		return nil, err
	}
	rooms, err := e.service.Rooms(ctx, c, page)
	if err != nil {
		return nil, err
	}
	return ack(wire.RoomListAck(&rooms)), nil
}

func (e events) roomMessage(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	room, args, err := wire.RoomMessage(r.Args, c.User, time.Now().UnixMilli())
	if err != nil {
		return nil, err
	}
	return ok(e.service.RoomMessage(ctx, c, room, passOn(r, args)))
}

func (e events) startTyping(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	room, err := wire.RoomOnly(r.Args)
	if err != nil {
		return nil, err
	}
	return ok(e.service.StartTyping(ctx, c, room))
}

func (e events) stopTyping(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	room, err := wire.RoomOnly(r.Args)
	if err != nil {
		return nil, err
	}
	return ok(e.service.StopTyping(ctx, c, room))
}

func (e events) broadcast(_ context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	id, args, err := wire.ChatMessage(r.Args, c.User, time.Now().UnixMilli())
	if err != nil {
		return nil, err
	}
	if err := e.service.Broadcast(c, passOn(r, args)); err != nil {
		return nil, err
	}
	received := wire.ReceivedEmit(id)
	return &eventserver.Reply{
		Args:  []byte(wire.OK),
		Emits: []eventserver.Emit{{Event: received.GetEvent(), Args: received.GetArgs()}},
	}, nil
}

func (e events) announce(_ context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	args, err := wire.Anything(r.Args)
	if err != nil {
		return nil, err
	}
	return ok(e.service.Announce(c, passOn(r, args)))
}

func (e events) notifications(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	before, limit, err := wire.NotificationList(r.Args)
	if err != nil {
		return nil, err
	}
	list, unread, err := e.service.Notifications(ctx, c, before, limit)
	if err != nil {
		return nil, err
	}
	return ack(wire.NotificationsAck(list, unread)), nil
}

func (e events) readNotifications(c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	ids, err := wire.NotificationRead(r.Args)
	if err != nil {
		return err
	}
	return e.service.MarkNotifications(c, ids, func(unread int, err error) { done(ack(wire.UnreadAck(unread)), err) })
}

// passOn is the event as others get it, with the sender's binary attachments.
func passOn(r *eventserver.Request, args []byte) chat.Emit {
	return chat.Emit{Event: r.Event, Args: args, Attachments: r.Attachments}
}
