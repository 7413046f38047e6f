package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// TestExamples: rooms are made once, with everybody in them, and their messages are by those who are there, once all have their names.
func TestExamples(t *testing.T) {
	var said, made []string
	there, looks := false, 0
	rest := func(_ context.Context, method, path string, body, answer any) error {
		if strings.HasSuffix(path, "/members") {
			looks++
			name := "id of bob" // not heard of yet
			if looks%2 == 0 {
				name = "Bob"
			}
			return json.Unmarshal([]byte(`{"members":[{"userId":"id of alice","name":"Alice"},{"userId":"id of bob","name":"`+name+`"}]}`), answer)
		}
		asked, ok := body.(map[string]any)
		if !ok {
			return errors.New("no body")
		}
		switch {
		case path == "/api/v1/auth/login":
			return json.Unmarshal([]byte(`{"user":{"id":"id of `+asked["username"].(string)+`"}}`), answer)
		case path == "/api/v1/rooms" && there:
			return errTaken
		case path == "/api/v1/rooms":
			made = append(made, asked["roomId"].(string))
		case strings.HasSuffix(path, "/messages"):
			if !strings.HasPrefix(asked["userId"].(string), "id of ") {
				t.Errorf("%s %s by %q", method, path, asked["userId"])
			}
			if looks != 2*len(made) {
				t.Errorf("%q was said before all had their names", asked["content"])
			}
			said = append(said, asked["content"].(string))
		}
		return nil
	}
	e := examples{rest: rest, accounts: map[string]string{}}
	for _, user := range demoUsers() {
		e.accounts[user.Username] = user.Password
	}
	want := 0
	for _, room := range exampleRooms() {
		want += len(room.said)
	}
	for range 2 {
		if err := e.create(t.Context(), exampleRooms()); err != nil {
			t.Fatal(err)
		}
		if len(made) != len(exampleRooms()) || len(said) != want {
			t.Errorf("made %v, in which was said %q, want %d rooms with %d messages", made, said, len(exampleRooms()), want)
		}
		there = true
	}
	delete(e.accounts, "alice")
	there, made = false, nil
	if err := e.create(t.Context(), exampleRooms()); err != nil || len(made) != 0 {
		t.Errorf("without an account that is in all rooms = %v, made %v, want none", err, made)
	}
}
