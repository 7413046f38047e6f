package clientevents

import (
	"context"

	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/eventserver"
)

func (e events) prefs(c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	prefs, err := wire.RoomPrefs(r.Args)
	if err != nil {
		return err
	}
	return e.service.SetPrefs(c, prefs, func(err error) { done(nil, err) })
}

// block begins or ends it.
func (e events) block(end bool) func(context.Context, usecases.Caller, *eventserver.Request) (*eventserver.Reply, error) {
	return func(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
		who, err := wire.UserOnly(r.Args)
		if err != nil {
			return nil, err
		}
		return ok(e.service.Block(ctx, c, who, end))
	}
}

func (e events) blocks(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	after, limit, err := wire.UserBlocks(r.Args)
	if err != nil {
		return nil, err
	}
	list, more, err := e.service.Blocks(ctx, c, after, limit)
	if err != nil {
		return nil, err
	}
	return ack(wire.BlocksAck(list, more)), nil
}

func (e events) invite(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	request, err := wire.RoomInvite(r.Args)
	if err != nil {
		return nil, err
	}
	invite, until, err := e.service.Invite(ctx, c, request)
	if err != nil {
		return nil, err
	}
	return ack(wire.InviteAck(invite, until)), nil
}

func (e events) invites(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	room, after, limit, err := wire.RoomInvites(r.Args)
	if err != nil {
		return nil, err
	}
	list, more, err := e.service.Invites(ctx, c, room, after, limit)
	if err != nil {
		return nil, err
	}
	return ack(wire.InvitesAck(list, more)), nil
}

func (e events) revokeInvite(ctx context.Context, c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	room, hash, err := wire.RevokeInvite(r.Args)
	if err != nil {
		return err
	}
	return e.service.RevokeInvite(ctx, c, room, hash, func(err error) { done(nil, err) })
}
