package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// crowdRooms counts what a crowd does to rooms.
type crowdRooms struct {
	mu       sync.Mutex // guards what follows
	members  map[string]int
	messages int
	fails    bool
}

func (c *crowdRooms) rest(_ context.Context, method, path string, body any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	room, what, _ := strings.Cut(strings.TrimPrefix(path, "/api/v1/rooms/"), "/")
	switch {
	case c.fails:
		return errors.New("no such room")
	case method == http.MethodDelete:
		c.members[room]--
	case what == "members":
		c.members[room] += len(body.(map[string]any)["userIds"].([]string))
	default:
		c.messages++
	}
	return nil
}

func (c *crowdRooms) in(room string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[room]
}

func (c *crowdRooms) said() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.messages
}

func (c *crowdRooms) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails = true
}

// TestCrowd: a room has as many simulated members as were asked for last; they talk, leave a room for another one, and are gone after a while.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rooms := &crowdRooms{members: make(map[string]int)}
		c := newCrowd(rooms.rest)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.run(ctx, slog.New(slog.DiscardHandler)) }()
		want := func(room string, members int) {
			t.Helper()
			synctest.Wait()
			if got := rooms.in(room); got != members {
				t.Errorf("%s has %d simulated members, want %d", room, got, members)
			}
		}
		c.orders <- crowdSize{Room: "a", Members: 250}
		time.Sleep(time.Second)
		want("a", 250)
		before := rooms.said()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if said := rooms.said() - before; said < 40 || said > 60 {
			t.Errorf("250 members said %d things in 10 s, want about 50", said)
		}
		c.orders <- crowdSize{Room: "a", Members: 200}
		time.Sleep(5 * time.Second)
		want("a", 200)
		c.orders <- crowdSize{Room: "b", Members: 1000}
		time.Sleep(15 * time.Second)
		want("a", 0)
		want("b", 1000)
		time.Sleep(crowdLasts + 2*time.Minute)
		want("b", 0)
		before = rooms.said()
		rooms.fail()
		c.orders <- crowdSize{Room: "gone", Members: 10}
		time.Sleep(time.Minute)
		synctest.Wait()
		if rooms.said() != before {
			t.Error("members of no room talk")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestCrowdRequests: what is no size of a crowd is refused.
func TestCrowdRequests(t *testing.T) {
	c := newCrowd(nil)
	go func() {
		for range c.orders { // it takes all
		}
	}()
	defer close(c.orders)
	for body, code := range map[string]int{`{"room":"a","members":1000}`: 202, `{"room":"a","members":0}`: 202, `{"room":"a","members":1001}`: 400, `{"room":"a","members":-1}`: 400, `{"members":1}`: 400, `x`: 400} {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/members", strings.NewReader(body)))
		if said, _ := io.ReadAll(w.Body); w.Code != code {
			t.Errorf("%s = %d %s, want %d", body, w.Code, said, code)
		}
	}
}
