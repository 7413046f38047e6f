package usecases

import (
	"context"
	"fmt"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// keyed makes a command one that is done once for the key of the caller's request. Without a key it is the command itself.
func (c *Caller) keyed(command chat.Command) chat.Command {
	return c.keyedAs(chat.RoomOf(command), command, command)
}

// keyedAs is keyed for a command that says more than was asked: a repeat asks for the same, and names the same room, or none.
func (c *Caller) keyedAs(room chat.RoomID, asked any, command chat.Command) chat.Command {
	if c.RequestKey == "" {
		return command
	}
	return chat.Keyed{Key: c.keyIn(room), Asked: chat.DigestOf(asked), Commands: []chat.Command{command}}
}

func (c *Caller) keyIn(room chat.RoomID) chat.KeyID {
	return chat.KeyOf(room, c.in(room), c.RequestKey)
}

// do does a command, unless refused. What refuses may be what the request did itself before its answer was lost: then it gets that answer. While
// nobody knows whether it is, the fault is that of the store: a refusal would be final, for what is done.
func (s *Service) do(ctx context.Context, command chat.Command, refused error) (chat.Outcome, error) {
	if refused == nil {
		return s.writer.Do(ctx, command)
	}
	request, keyed := command.(chat.Keyed)
	if !keyed {
		return chat.Outcome{}, refused
	}
	first, known, err := s.store.Answer(ctx, request.Key)
	if err != nil {
		return chat.Outcome{}, fmt.Errorf("read the answer to the request's key: %w", err)
	}
	if !known {
		return chat.Outcome{}, refused
	}
	o := request.Again(first)
	return o, o.Err
}

// doAll does the commands of one request, so that they share a transaction, and gives what became of them as far as it is known. With a key
// they are done at once or not at all.
func (s *Service) doAll(ctx context.Context, c Caller, commands []chat.Command, refused error) ([]chat.Outcome, error) {
	if c.RequestKey != "" {
		o, err := s.do(ctx, chat.Keyed{
			Key: c.keyIn(chat.RoomOf(commands[0])), Asked: chat.DigestOf(commands), Commands: commands, Each: true,
		}, refused)
		if err != nil {
			return nil, err
		}
		return o.Details.Parts, nil
	}
	if refused != nil {
		return nil, refused
	}
	results := make([]chan chat.Outcome, len(commands))
	for i, command := range commands {
		results[i] = make(chan chat.Outcome, 1)
		if err := s.writer.Submit(command, func(o chat.Outcome) { results[i] <- o }); err != nil {
			results[i] <- chat.Outcome{Err: err}
		}
	}
	outcomes := make([]chat.Outcome, 0, len(commands))
	for _, result := range results {
		select {
		case o := <-result:
			outcomes = append(outcomes, o)
		case <-ctx.Done():
			return outcomes, ctx.Err()
		}
	}
	return outcomes, nil
}
