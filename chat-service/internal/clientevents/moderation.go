package clientevents

import (
	"context"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/eventserver"
)

// act is write for what waits for gateways as well. The event may have a key.
func act(
	f func(context.Context, usecases.Caller, *eventserver.Request, func(*eventserver.Reply, error)) error,
) func(context.Context, *eventserver.Request, func(*eventserver.Reply, error)) {
	return func(ctx context.Context, r *eventserver.Request, done func(*eventserver.Reply, error)) {
		c, err := repeatedByKey(r)
		if err == nil {
			err = f(ctx, c, r, done)
		}
		if err != nil {
			done(nil, err)
		}
	}
}

// result answers room:add and room:remove.
func result(done func(*eventserver.Reply, error)) func(usecases.ActResult, error) {
	return func(result usecases.ActResult, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		done(ack(wire.MembersAck(result)), nil)
	}
}

func (e events) add(ctx context.Context, c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	room, users, role, _, err := wire.RoomMembers(r.Args)
	if err != nil {
		return err
	}
	return e.service.AddMembers(ctx, c, room, users, role, result(done))
}

func (e events) remove(ctx context.Context, c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	room, users, _, reason, err := wire.RoomMembers(r.Args)
	if err != nil {
		return err
	}
	return e.service.RemoveMembers(ctx, c, room, users, reason, result(done))
}

func (e events) setRole(ctx context.Context, c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	room, user, role, err := wire.RoomSetRole(r.Args)
	if err != nil {
		return err
	}
	return e.service.SetRole(ctx, c, room, user, role, func(err error) { done(nil, err) })
}

// restrict begins or ends a ban or a mute.
func (e events) restrict(mute, begin bool) func(context.Context, usecases.Caller, *eventserver.Request, func(*eventserver.Reply, error)) error {
	return func(ctx context.Context, c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
		restrict, err := wire.RoomRestrict(r.Args)
		if err != nil {
			return err
		}
		restrict.Mute = mute
		if !begin {
			restrict.Until = time.Time{}
		}
		return e.service.Restrict(ctx, c, restrict, func(err error) { done(nil, err) })
	}
}

func (e events) update(ctx context.Context, c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	update, err := wire.RoomUpdate(r.Args)
	if err != nil {
		return err
	}
	return e.service.UpdateRoom(ctx, c, update, func(version uint64, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		done(ack(wire.UpdateAck(version)), nil)
	})
}

func (e events) archive(ctx context.Context, c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	room, err := wire.RoomOnly(r.Args)
	if err != nil {
		return err
	}
	return e.service.ArchiveRoom(ctx, c, room, func(err error) { done(nil, err) })
}

func (e events) deleteRoom(ctx context.Context, c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	room, err := wire.RoomOnly(r.Args)
	if err != nil {
		return err
	}
	return e.service.DeleteRoom(ctx, c, room, func(err error) { done(nil, err) })
}
