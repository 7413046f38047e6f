package usecases

import (
	"context"
	"fmt"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// keyed makes a command one that is done once for the key of the caller's request. Without a key it is the command itself.
func (c *Caller) keyed(command rules.Command) rules.Command {
	return c.keyedAs(rules.RoomOf(command), command, command)
}

// keyedAs is keyed for a command that says more than was asked: a repeat asks for the same, and names the same room, or none.
func (c *Caller) keyedAs(room chat.RoomID, asked any, command rules.Command) rules.Command {
	if c.RequestKey == "" {
		return command
	}
	return rules.Keyed{Key: c.keyIn(room), Asked: rules.DigestOf(asked), Commands: []rules.Command{command}}
}

func (c *Caller) keyIn(room chat.RoomID) rules.KeyID {
	return rules.KeyOf(room, c.in(room), c.RequestKey)
}

// do does a command, unless refused. What refuses may be what the request did itself before its answer was lost: then it gets that answer. While
// nobody knows whether it is, the fault is that of the store: a refusal would be final, for what is done.
func (s *Service) do(ctx context.Context, command rules.Command, refused error) (rules.Outcome, error) {
	if refused == nil {
		return s.writer.Do(ctx, command)
	}
	request, keyed := command.(rules.Keyed)
	if !keyed {
		return rules.Outcome{}, refused
	}
	first, known, err := s.store.Answer(ctx, request.Key)
	if err != nil {
		return rules.Outcome{}, fmt.Errorf("read the answer to the request's key: %w", err)
	}
	if !known {
		return rules.Outcome{}, refused
	}
	o := request.Again(first)
	return o, o.Err
}

// doAll does the commands of one request, so that they share a transaction, and gives what became of them as far as it is known. With a key
// they are done at once or not at all.
func (s *Service) doAll(ctx context.Context, c Caller, commands []rules.Command, refused error) ([]rules.Outcome, error) {
	if c.RequestKey != "" {
		o, err := s.do(ctx, rules.Keyed{
			Key: c.keyIn(rules.RoomOf(commands[0])), Asked: rules.DigestOf(commands), Commands: commands, Each: true,
		}, refused)
		if err != nil {
			return nil, err
		}
		return o.Details.Parts, nil
	}
	if refused != nil {
		return nil, refused
	}
	results := make([]chan rules.Outcome, len(commands))
	for i, command := range commands {
		results[i] = make(chan rules.Outcome, 1)
		if err := s.writer.Submit(command, func(o rules.Outcome) { results[i] <- o }); err != nil {
			results[i] <- rules.Outcome{Err: err}
		}
	}
	outcomes := make([]rules.Outcome, 0, len(commands))
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
