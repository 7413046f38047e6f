//go:build linux

// Package benchtest is a server for the tests of the load generators.
package benchtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/golang-jwt/jwt/v5"
)

// Secret signs the tokens that a Server takes.
const Secret = "a secret of the tests, long enough for HS256"

// Server is a Socket.IO server with just what the load generators use.
type Server struct {
	Repeat bool // every tenth message is delivered twice

	mu    sync.Mutex // guards rooms, and is held while something is said to them
	rooms map[string]*room
}

type room struct {
	seq     int
	members []net.Conn
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // a test
	defer s.leave(conn)
	say(conn, `0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)
	say(conn, `2`)
	in := struct {
		io.Reader
		io.Writer
	}{bufio.NewReader(conn), conn}
	for {
		text, err := wsutil.ReadClientText(in)
		if err != nil {
			return
		}
		if err := s.packet(conn, string(text)); err != nil {
			say(conn, `44{"message":"`+err.Error()+`"}`)
			return
		}
	}
}

// patience is with a client that does not read: afterwards it is cut off, as servers do with a queue that is full.
const patience = time.Second

func say(conn net.Conn, text string) {
	_ = conn.SetWriteDeadline(time.Now().Add(patience))
	if wsutil.WriteServerText(conn, []byte(text)) != nil {
		_ = conn.Close()
	}
}

func (s *Server) packet(conn net.Conn, text string) error {
	if text == "3" {
		return nil
	}
	if auth, ok := strings.CutPrefix(text, "40"); ok {
		var a struct{ Token string }
		if err := json.Unmarshal([]byte(auth), &a); err != nil {
			return err
		}
		_, err := jwt.Parse(a.Token, func(*jwt.Token) (any, error) { return []byte(Secret), nil },
			jwt.WithValidMethods([]string{"HS256"}))
		if err != nil {
			return err
		}
		say(conn, `40{"sid":"y"}`)
		return nil
	}
	id, array, _ := strings.Cut(strings.TrimPrefix(text, "42"), "[")
	var args []json.RawMessage
	if err := json.Unmarshal([]byte("["+array), &args); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch string(args[0]) {
	case `"room:join"`:
		in := s.room(strings.Trim(string(args[1]), `"`))
		in.seq++
		say(conn, `42["room:history",[]]`)
		say(conn, fmt.Sprintf(`43%s[{"ok":true,"seq":%d}]`, id, in.seq))
		in.say(fmt.Sprintf(`42["room:user-joined",{"seq":%d}]`, in.seq))
		in.members = append(in.members, conn)
	case `"message:send"`, `"room:message"`:
		var m struct{ RoomID, Content, Text string }
		if err := json.Unmarshal(args[1], &m); err != nil {
			return err
		}
		in := s.room(m.RoomID)
		if id != "" {
			say(conn, `43`+id+`[{"ok":true}]`)
		}
		if string(args[0]) == `"room:message"` {
			in.say(fmt.Sprintf(`42["room:message",{"text":%q,"content":%q}]`, m.Text, m.Content))
			return nil
		}
		in.seq++
		event := fmt.Sprintf(`42["message:new",{"seq":%d,"content":%q},"offset"]`, in.seq, m.Content)
		in.say(event)
		if s.Repeat && in.seq%10 == 0 {
			in.say(event)
		}
	}
	return nil
}

func (s *Server) room(name string) *room {
	if s.rooms == nil {
		s.rooms = make(map[string]*room)
	}
	if s.rooms[name] == nil {
		s.rooms[name] = &room{}
	}
	return s.rooms[name]
}

func (r *room) say(text string) {
	for _, m := range r.members {
		say(m, text)
	}
}

func (s *Server) leave(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rooms {
		r.members = slices.DeleteFunc(r.members, func(m net.Conn) bool { return m == conn })
	}
}
