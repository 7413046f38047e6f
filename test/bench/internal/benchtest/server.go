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

	// Inbox gives the rooms of a user for a connection that asks for its inbox; nil: there is none.
	Inbox func(user string) []string

	mu    sync.Mutex // guards rooms, and is held while something is said to them
	rooms map[string]*room
}

type room struct {
	seq     int
	members []net.Conn
	inboxes []net.Conn // that have the room in their inbox
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
		return s.connect(conn, auth)
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
			say(conn, fmt.Sprintf(`43%s[{"ok":true,"seq":%d}]`, id, in.seq+1))
		}
		if string(args[0]) == `"room:message"` {
			in.say(fmt.Sprintf(`42["room:message",{"text":%q,"content":%q}]`, m.Text, m.Content))
			return nil
		}
		in.seq++
		event := fmt.Sprintf(`42["message:new",{"seq":%d,"content":%q},"offset"]`, in.seq, m.Content)
		in.say(event)
		for _, c := range in.inboxes {
			say(c, fmt.Sprintf(`42["room:activity",{"roomId":%q,"seq":%d}]`, m.RoomID, in.seq))
		}
		if s.Repeat && in.seq%10 == 0 {
			in.say(event)
		}
	}
	return nil
}

// connect takes the token of a CONNECT, and tells the inbox where it asks for one.
func (s *Server) connect(conn net.Conn, auth string) error {
	var a struct {
		Token string
		Inbox bool
	}
	if err := json.Unmarshal([]byte(auth), &a); err != nil {
		return err
	}
	token, err := jwt.Parse(a.Token, func(*jwt.Token) (any, error) { return []byte(Secret), nil },
		jwt.WithValidMethods([]string{"HS256"}))
	if err != nil {
		return err
	}
	user, err := token.Claims.GetSubject()
	if err != nil {
		return err
	}
	say(conn, `40{"sid":"y"}`)
	if !a.Inbox || s.Inbox == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var rooms []string
	for _, name := range s.Inbox(user) {
		in := s.room(name)
		in.inboxes = append(in.inboxes, conn)
		rooms = append(rooms, fmt.Sprintf(`{"roomId":%q,"seq":%d}`, name, in.seq))
	}
	say(conn, `42["inbox:state",{"rooms":[`+strings.Join(rooms, ",")+`],"useq":0}]`)
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
		gone := func(m net.Conn) bool { return m == conn }
		r.members, r.inboxes = slices.DeleteFunc(r.members, gone), slices.DeleteFunc(r.inboxes, gone)
	}
}
