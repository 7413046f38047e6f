package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

const (
	namesWithin = time.Minute
	namesEvery  = 100 * time.Millisecond
)

// exampleRoom is a room that the demo accounts have at the first start, so that the web app shows something.
type exampleRoom struct {
	id, kind, name, topic string
	members               []string // by username; the first one owns it
	said                  []exampleLine
}

// exampleLine is what a member said.
type exampleLine struct{ by, text string }

func exampleRooms() []exampleRoom {
	return []exampleRoom{
		{
			id: "welcome", kind: "public", name: "Welcome", topic: "What to try first", members: []string{"alice", "bob", "admin"},
			said: []exampleLine{
				{"alice", "Welcome to Starling! Everything here runs on your machine."},
				{"bob", "Write as one of us and watch the other: messages, typing and read ticks arrive at once. In a second tab you are somebody else with `?profile=bob` after the address."},
				{"alice", "Press `~` for the developer drawer: cut the connection, restart the gateway, lose an answer. **Nothing** is lost, and nothing comes twice."},
				{"bob", "`?` shows the keys, Ctrl+K jumps to a room or a person."},
			},
		},
		{
			id: "launch-plans", kind: "private", name: "Launch plans", topic: "Quiet until Thursday", members: []string{"bob", "alice"},
			said: []exampleLine{
				{"bob", "I wrote five messages on the train without a network. Did they arrive?"},
				{"alice", "All five, once each, in order."},
				{"bob", "Then:\n- docs tonight\n- the announcement on Thursday"},
			},
		},
	}
}

// examples makes the example rooms by REST, as a backend does.
type examples struct {
	rest     func(ctx context.Context, method, path string, body, answer any) error
	accounts map[string]string // passwords by username
}

// create makes the rooms of the first start. At later ones they are there already, and nothing is done.
func (e examples) create(ctx context.Context, rooms []exampleRoom) error {
	ids := make(map[string]string, len(e.accounts))
	for username, password := range e.accounts {
		var login struct {
			User struct {
				ID string `json:"id"`
			} `json:"user"`
		}
		if err := e.rest(ctx, http.MethodPost, "/api/v1/auth/login", map[string]any{"username": username, "password": password}, &login); err != nil {
			return fmt.Errorf("find the account %s: %w", username, err)
		}
		ids[username] = login.User.ID
	}
	for _, room := range rooms {
		if slices.ContainsFunc(room.members, func(username string) bool { return ids[username] == "" }) {
			continue // an account whose password was changed
		}
		if err := e.makeRoom(ctx, room, ids); errors.Is(err, errTaken) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (e examples) makeRoom(ctx context.Context, room exampleRoom, ids map[string]string) error {
	var members []map[string]any
	for _, username := range room.members[1:] {
		members = append(members, map[string]any{"userId": ids[username]})
	}
	err := e.rest(ctx, http.MethodPost, "/api/v1/rooms", map[string]any{
		"kind": room.kind, "roomId": room.id, "profile": map[string]any{"name": room.name, "topic": room.topic}, "members": members, "asUserId": ids[room.members[0]],
	}, nil)
	if err != nil {
		return fmt.Errorf("make the room %s: %w", room.id, err)
	}
	if err := e.awaitNames(ctx, room.id); err != nil {
		return err
	}
	for _, line := range room.said {
		body := map[string]any{"content": line.text, "format": "markdown", "userId": ids[line.by]}
		if err := e.rest(ctx, http.MethodPost, roomPath(room.id)+"/messages", body, nil); err != nil {
			return fmt.Errorf("say something in the room %s: %w", room.id, err)
		}
	}
	return nil
}

// awaitNames waits until all members of a room have a name: chat-service hears of it a moment after the account was made, and what is said
// before is shown with the id of its sender for good.
func (e examples) awaitNames(ctx context.Context, roomID string) error {
	for deadline := time.Now().Add(namesWithin); time.Now().Before(deadline); {
		var there struct {
			Members []struct {
				UserID string `json:"userId"`
				Name   string `json:"name"`
			} `json:"members"`
		}
		if err := e.rest(ctx, http.MethodGet, roomPath(roomID)+"/members", nil, &there); err != nil {
			return fmt.Errorf("read the names in the room %s: %w", roomID, err)
		}
		unnamed := false
		for _, member := range there.Members {
			unnamed = unnamed || member.Name == member.UserID
		}
		if !unnamed {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(namesEvery):
		}
	}
	return nil // better without names than without examples
}

// makeExamples makes the example rooms; that it cannot is said, and is no reason not to start.
func (s *system) makeExamples(ctx context.Context) {
	e := examples{rest: s.backend, accounts: make(map[string]string)}
	for _, account := range s.demoAccounts() {
		e.accounts[account.Username] = account.Password
	}
	if err := e.create(ctx, exampleRooms()); err != nil && ctx.Err() == nil {
		s.say("the example rooms cannot be made: %v", err)
	}
}
