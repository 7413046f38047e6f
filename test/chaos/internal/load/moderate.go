package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"
)

// Private rooms: a backend makes them with all of their members, and while the load runs a moderator takes some out, by room:remove and
// room:ban in turn, and lets them in again. Whoever is out, and whoever never was in, tries to get in and to read meanwhile.
//
// When the moderator's event is acked, nothing that happens from then on may reach who is out, on whatever connection. What happened
// before may still be on its way to the client: the rig tells by the sequence, not by the clock.

// Times of a moderator.
const (
	moderateFrom, moderateUntil = time.Second, 3 * time.Second
	outFor                      = 1500 * time.Millisecond
	// resolveTime is how long a moderator goes on after the load to find out what became of its last act.
	resolveTime = 20 * time.Second
	settlePoll  = 50 * time.Millisecond
)

// found has a backend make the private rooms, before any client runs.
func (l *Load) found(ctx context.Context) error {
	type member struct {
		UserID string `json:"userId"`
		Role   string `json:"role,omitempty"`
	}
	for index, door := range l.plan.private {
		room := struct {
			Kind    string   `json:"kind"`
			RoomID  string   `json:"roomId"`
			Members []member `json:"members"`
		}{Kind: "private", RoomID: l.plan.rooms[index]}
		for _, user := range l.plan.members[index] {
			m := member{UserID: l.clients[user].user.id}
			if user == door.moderator {
				m.Role = "owner"
			}
			room.Members = append(room.Members, m)
		}
		body, err := json.Marshal(room)
		if err != nil {
			return err
		}
		if err := l.post(ctx, "/api/v1/rooms", body); err != nil {
			return fmt.Errorf("make the room %s: %w", room.RoomID, err)
		}
	}
	return nil
}

// post makes a REST call of a backend, again while the system says that it is busy: nothing is measured yet.
func (l *Load) post(ctx context.Context, path string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.cfg.Gateways[0]+path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-API-Key", l.cfg.APIKey)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		switch res.StatusCode {
		case http.StatusOK, http.StatusConflict: // an answer was lost
			return nil
		case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			if pause(ctx, time.Second) != nil {
				return errors.New(res.Status)
			}
		default:
			return errors.New(res.Status)
		}
	}
}

// moderation is what the moderator of one private room does.
type moderation struct {
	load *Load
	by   *client
	room int
	id   string
	dice *rand.Rand
}

// moderate takes members out and lets them in again until ctx ends. Then everybody is in, or known to be out.
func (l *Load) moderate(ctx context.Context, room int, d door) {
	m := &moderation{
		load: l, by: l.clients[d.moderator], room: room, id: l.plan.rooms[room],
		dice: random(l.cfg.Seed, uint64(room)<<50), //nolint:gosec // not negative
	}
	for {
		wait := moderateFrom + time.Duration(m.dice.Int64N(int64(moderateUntil-moderateFrom)))
		if pause(ctx, wait) != nil {
			return
		}
		m.once(ctx, l.clients[d.suspects[m.dice.IntN(len(d.suspects))]])
	}
}

// once takes one member out, and lets it in again.
func (m *moderation) once(ctx context.Context, who *client) {
	resolve, cancel := context.WithTimeout(context.WithoutCancel(ctx), resolveTime)
	defer cancel()
	room := who.rooms.byID[m.id]
	ban := m.dice.IntN(2) == 0
	who.rooms.removing(room)
	since := m.load.now()
	acked := m.evict(resolve, who, ban)
	who.rooms.removed(room, since)
	if !acked {
		return // it may be in, and does not look
	}
	m.load.counters.removals.Add(1)
	m.tryIn(ctx, who)
	m.tryIn(ctx, m.load.clients[m.dice.IntN(len(m.load.clients))])
	_ = pause(ctx, outFor)
	for !who.rooms.settled(room) {
		if pause(resolve, settlePoll) != nil {
			return
		}
	}
	if (!ban || m.ask(resolve, "room:unban", map[string]any{"roomId": m.id, "userId": who.user.id})) &&
		m.ask(resolve, "room:add", map[string]any{"roomId": m.id, "userIds": []string{who.user.id}}) {
		who.rooms.setWant(room, true)
	}
}

func (m *moderation) evict(ctx context.Context, who *client, ban bool) bool {
	if ban {
		return m.ask(ctx, "room:ban", map[string]any{"roomId": m.id, "userId": who.user.id})
	}
	return m.ask(ctx, "room:remove", map[string]any{"roomId": m.id, "userIds": []string{who.user.id}})
}

// ask emits an event of the moderator until it is acked; all of them may be repeated.
func (m *moderation) ask(ctx context.Context, name string, arg any) bool {
	for m.by.conn.awaitUp(ctx) == nil {
		k, err := m.by.conn.invoke(name, arg, nil)
		if err != nil {
			_ = pause(ctx, minRetry)
			continue
		}
		res := m.by.conn.await(ctx, k)
		wait := m.by.user.failed(name, res)
		if wait == 0 && len(res.answer.Failed) == 0 {
			return true
		}
		if pause(ctx, max(wait, minRetry)) != nil {
			return false
		}
	}
	return false
}

// tryIn has a client who is not in the room ask to be let in, and to read. Whoever may be in is not asked.
func (m *moderation) tryIn(ctx context.Context, c *client) {
	room := c.rooms.byID[m.id]
	if room != nil && !c.rooms.settled(room) {
		return
	}
	for _, try := range []struct {
		name string
		arg  any
	}{{"room:join", joinArgument{RoomID: m.id}}, {"message:history", pageArgument{RoomID: m.id, Limit: pageLimit}}} {
		k, err := c.conn.invoke(try.name, try.arg, nil)
		if err != nil {
			return
		}
		res := c.conn.await(ctx, k)
		switch {
		case res.err == nil && res.answer.OK:
			m.load.counters.fail("stray:let into a private room by " + try.name)
			m.load.log.ErrorContext(ctx, "let into a private room", slog.String("user", c.user.id), slog.String("room", m.id), slog.String("event", try.name))
		case res.err != nil && room != nil:
			c.rooms.unsure(room) // it may be carried out when the client is in again
		}
	}
}
