package clientevents

import (
	"context"

	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/eventserver"
)

// messageRoutes are those of what is done to messages that were sent.
func (e events) messageRoutes(both []string) []eventserver.Route {
	return []eventserver.Route{
		{Event: "message:edit", Namespaces: both, Repeatable: true, Write: writeBy(repeatedByKey, e.edit)},
		{Event: "message:delete", Namespaces: both, Repeatable: true, OneAtATime: true, Write: writeBy(keyed, e.deleteMessage)},
		{Event: "message:react", Namespaces: both, Repeatable: true, OneAtATime: true, Write: write(e.react(false))},
		{Event: "message:unreact", Namespaces: both, Repeatable: true, OneAtATime: true, Write: write(e.react(true))},
		{Event: "message:pin", Namespaces: both, Repeatable: true, OneAtATime: true, Write: writeBy(keyed, e.pin(false))},
		{Event: "message:unpin", Namespaces: both, Repeatable: true, OneAtATime: true, Write: writeBy(keyed, e.pin(true))},
		{Event: "mention:list", Namespaces: both, Large: true, Repeatable: true, Handle: handle(e.mentions)},
		{Event: "message:pins", Namespaces: both, Large: true, Repeatable: true, Handle: handle(e.pins)},
		{Event: "message:get", Namespaces: both, Large: true, Repeatable: true, Handle: handle(e.messages)},
		{Event: "message:changes", Namespaces: both, Large: true, Repeatable: true, Handle: handle(e.changes)},
		{Event: "message:edits", Namespaces: both, Large: true, Repeatable: true, Handle: handle(e.edits)},
	}
}

// sequence answers what changes a message.
func sequence(done func(*eventserver.Reply, error)) func(rules.Outcome) {
	return func(o rules.Outcome) {
		if o.Err != nil {
			done(nil, o.Err)
			return
		}
		done(ack(wire.SeqAck(o.Seq)), nil)
	}
}

func (e events) edit(c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	edit, err := wire.MessageEdit(r.Args)
	if err != nil {
		return err
	}
	return e.service.Edit(c, edit, sequence(done))
}

func (e events) deleteMessage(c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
	room, id, err := wire.MessageRead(r.Args)
	if err != nil {
		return err
	}
	return e.service.DeleteMessage(c, room, id, sequence(done))
}

func (e events) messages(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	room, ids, err := wire.MessageGet(r.Args)
	if err != nil {
		return nil, err
	}
	list, more, err := e.service.Messages(ctx, c, room, ids)
	if err != nil {
		return nil, err
	}
	return ack(wire.MessagesAck(list, more)), nil
}

func (e events) changes(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	room, since, limit, err := wire.MessageChanges(r.Args)
	if err != nil {
		return nil, err
	}
	view, err := e.service.MessageChanges(ctx, c, room, since, limit)
	if err != nil {
		return nil, err
	}
	return ack(wire.ChangesAck(view)), nil
}

func (e events) edits(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	room, id, err := wire.MessageRead(r.Args)
	if err != nil {
		return nil, err
	}
	list, err := e.service.Edits(ctx, c, room, id)
	if err != nil {
		return nil, err
	}
	return ack(wire.EditsAck(list)), nil
}

// react begins or ends it.
func (e events) react(off bool) func(usecases.Caller, *eventserver.Request, func(*eventserver.Reply, error)) error {
	return func(c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
		react, err := wire.MessageReact(r.Args)
		if err != nil {
			return err
		}
		react.Off = off
		return e.service.React(c, react, func(o rules.Outcome) {
			if o.Err != nil {
				done(nil, o.Err)
				return
			}
			done(ack(wire.ReactAck(o)), nil)
		})
	}
}

// pin begins or ends it.
func (e events) pin(off bool) func(usecases.Caller, *eventserver.Request, func(*eventserver.Reply, error)) error {
	return func(c usecases.Caller, r *eventserver.Request, done func(*eventserver.Reply, error)) error {
		room, id, err := wire.MessageRead(r.Args)
		if err != nil {
			return err
		}
		return e.service.Pin(c, rules.Pin{Origin: rules.Origin{Room: room}, Message: id, Off: off}, sequence(done))
	}
}

func (e events) mentions(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	after, limit, err := wire.MentionList(r.Args)
	if err != nil {
		return nil, err
	}
	page, err := e.service.Mentions(ctx, c, after, limit)
	if err != nil {
		return nil, err
	}
	return ack(wire.MentionsAck(&page)), nil
}

func (e events) pins(ctx context.Context, c usecases.Caller, r *eventserver.Request) (*eventserver.Reply, error) {
	room, after, limit, err := wire.MessagePins(r.Args)
	if err != nil {
		return nil, err
	}
	list, more, err := e.service.Pins(ctx, c, room, after, limit)
	if err != nil {
		return nil, err
	}
	return ack(wire.PinsAck(list, more)), nil
}
