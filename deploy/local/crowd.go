package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	crowdMax      = 1000 // members
	crowdTick     = 50 * time.Millisecond
	crowdLasts    = 10 * time.Minute // then its members leave: nobody wants to find them the next day
	crowdBatch    = 100              // members that one request adds
	crowdPatience = 10               // seconds without an answer, after which a crowd is given up
)

// crowdSize is how many simulated members a room is to have.
type crowdSize struct {
	Room    string `json:"room"`
	Members int    `json:"members"`
}

// crowd simulates members of a room, who talk: the developer drawer asks for them. They come and speak as a backend would bring them in,
// by REST. There is one at a time: a crowd for another room ends the one before. One goroutine, run, owns all of it but orders.
type crowd struct {
	orders chan crowdSize
	rest   func(ctx context.Context, method, path string, body any) error
}

func newCrowd(rest func(ctx context.Context, method, path string, body any) error) *crowd {
	return &crowd{orders: make(chan crowdSize), rest: rest}
}

// run adds, removes and lets speak, a step at each tick, until ctx ends. A gateway that is restarted meanwhile is waited for.
func (c *crowd) run(ctx context.Context, log *slog.Logger) error {
	var now crowdState
	var until, rest time.Time
	failed := 0
	tick := time.NewTicker(crowdTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now.wanted = <-c.orders:
			until, rest, failed = time.Now().Add(crowdLasts), time.Time{}, 0
			continue
		case <-tick.C:
		}
		if time.Now().Before(rest) {
			continue
		}
		if time.Now().After(until) {
			now.wanted.Members = 0
		}
		before := now
		err := c.step(ctx, &now)
		if err == nil || ctx.Err() != nil {
			failed = 0
			continue
		}
		now, rest = before, time.Now().Add(time.Second)
		if failed++; failed == crowdPatience {
			log.WarnContext(ctx, "simulated members cannot go on", slog.Any("error", err))
			now, failed = crowdState{}, 0
		}
	}
}

// crowdState is where a crowd stands.
type crowdState struct {
	wanted, there crowdSize
	said, idle    int // messages so far, and ticks since the last one
}

// step does the next thing: it lets one leave, some come, or one speak.
func (c *crowd) step(ctx context.Context, s *crowdState) error {
	switch room := roomPath(s.there.Room); {
	case s.there.Members > 0 && (s.there.Room != s.wanted.Room || s.there.Members > s.wanted.Members):
		s.there.Members--
		return c.rest(ctx, http.MethodDelete, room+"/members/"+crowdMember(s.there.Members), nil)
	case s.there.Members < s.wanted.Members:
		s.there.Room = s.wanted.Room
		var ids []string
		for ; s.there.Members < s.wanted.Members && len(ids) < crowdBatch; s.there.Members++ {
			ids = append(ids, crowdMember(s.there.Members))
		}
		return c.rest(ctx, http.MethodPost, roomPath(s.there.Room)+"/members", map[string]any{"userIds": ids})
	case s.there.Members > 0:
		// From one message a second to twenty.
		if s.idle++; s.idle < min(crowdMax/s.there.Members, int(time.Second/crowdTick)) {
			return nil
		}
		s.idle = 0
		s.said++
		return c.rest(ctx, http.MethodPost, room+"/messages", map[string]any{"content": crowdLine(s.said), "userId": crowdMember(s.said * 7919 % s.there.Members)})
	default:
		return nil
	}
}

func roomPath(room string) string { return "/api/v1/rooms/" + url.PathEscape(room) }

func crowdMember(i int) string { return "simulated-" + strconv.Itoa(i+1) }

// crowdLine is what simulated members say at their nth turn.
func crowdLine(n int) string {
	lines := []string{
		"Did anybody see the build?", "On my way.", "It is in order here, every single one of them.", "Lunch in ten minutes", "I think we should measure that before we argue.",
		"+1", "Has the gateway been restarted? I noticed nothing.", "A longer thought: when the room is as busy as this one, the list has to stay where one reads it.", "ok", "Thanks!",
	}
	return fmt.Sprintf("%s (%d)", lines[n%len(lines)], n)
}

// ServeHTTP takes {"room": …, "members": 0 to 1000}.
func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var want crowdSize
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&want); err != nil || want.Room == "" || want.Members < 0 || want.Members > crowdMax {
		http.Error(w, `want {"room": "…", "members": 0 to 1000}`, http.StatusBadRequest)
		return
	}
	select {
	case c.orders <- want:
		w.WriteHeader(http.StatusAccepted)
	case <-r.Context().Done():
	}
}

// errTaken is a refusal because there is one already.
var errTaken = errors.New("there is one already")

// backend asks the first gateway by REST, as an application's backend does, and reads the answer into answer unless that is nil.
func (s *system) backend(ctx context.Context, method, path string, body, answer any) error {
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var content io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode a request: %w", err)
		}
		content = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(limited, method, "http://"+s.listeners[0].Addr().String()+path, content)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	r.Header.Set("X-Api-Key", s.apiKey)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= http.StatusBadRequest {
		said, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		err := fmt.Errorf("%s %s: %d: %s", method, path, res.StatusCode, said)
		if res.StatusCode == http.StatusConflict {
			err = errors.Join(errTaken, err)
		}
		return err
	}
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(answer); err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	return nil
}
