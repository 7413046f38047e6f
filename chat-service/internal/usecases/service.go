package usecases

import (
	"context"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/groupcommit"
	"github.com/starling-chat/starling/chat-service/internal/markers"
	"github.com/starling-chat/starling/chat-service/internal/reactions"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/standings"
	"github.com/starling-chat/starling/chat-service/internal/typing"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
)

// Service is the use cases. Its methods take parsed ids and return faults for what the caller did wrong.
//
// Writes that sockets ask for have a parameter done, and return at once. done is called exactly once, after the commit and from a
// goroutine that must not be blocked, unless the method itself returns an error.
type Service struct {
	// Fixed at birth.
	store     Store
	writer    *Writer
	publisher Publisher
	standings *standings.Cache
	typing    *typing.Tracker
	reactions *reactions.Folder
	markers   *markers.Teller
	evictor   Evictor
	cfg       Config
	log       *slog.Logger
	acts      chan struct{} // tokens of the acts of moderators under way; Run's end takes all of them

	// Group commits that Run runs.
	receipts *groupcommit.Group[Receipt, ReadOutcome]
	marks    *groupcommit.Group[NotificationsRead, int]
}

// Config has the choices of an operator.
type Config struct {
	Autocreate    access.Kind    // of a room that is made because somebody joins it; "" = none is made
	Broadcast     BroadcastRight // who may send to a whole namespace; "" = everyone
	MembershipTTL time.Duration  // how long an ephemeral event may trust a membership once read
	Marks         MarksConfig
	Messages      MessagesConfig
}

// BroadcastRight says who may send chat:message. Announcements are another thing: they are always the admins'.
type BroadcastRight string

// The rights.
const (
	BroadcastEveryone BroadcastRight = "everyone"
	BroadcastAdmin    BroadcastRight = "admin"
	BroadcastOff      BroadcastRight = "off"
)

// refuse returns the fault for a caller that may not broadcast.
func (r BroadcastRight) refuse(c Caller) error {
	switch {
	case r == BroadcastOff:
		return fault.New(fault.Forbidden, "chat:message is turned off here; send to a room instead")
	case r == BroadcastAdmin && !c.Admin:
		return fault.New(fault.Forbidden, "Only an admin may send to everyone; send to a room instead")
	case c.User.Guest():
		return fault.New(fault.Forbidden, "A guest may not send to everyone; send to a room instead")
	}
	return nil
}

// MarksConfig bounds the group commit of receipts, and that of notifications read.
type MarksConfig struct {
	BatchMax int           // receipts a transaction; ten times as many notifications
	Queue    int           // requests waiting
	Timeout  time.Duration // longest wait of one
}

// notificationsPerReceipt is how many notifications weigh what a receipt weighs, for the bound of a transaction.
const notificationsPerReceipt = 10

// NewService wires the use cases. The marks are written while Run runs.
func NewService(store Store, writer *Writer, publisher Publisher, typists *typing.Tracker, evictor Evictor, cfg Config, log *slog.Logger) *Service {
	s := &Service{
		store: store, writer: writer, publisher: publisher, typing: typists, evictor: evictor, cfg: cfg, log: log,
		acts: make(chan struct{}, maxActs),

		reactions: reactions.New(writer.Submit),
		standings: standings.New(store, cfg.MembershipTTL),
		receipts: groupcommit.New("receipts", store.MarkRead, groupcommit.Config[Receipt]{
			Weigh: func(Receipt) int { return 1 },
			Most:  cfg.Marks.BatchMax, Queue: cfg.Marks.Queue, Timeout: cfg.Marks.Timeout,
		}, log),
		marks: groupcommit.New("notifications", store.MarkNotifications, groupcommit.Config[NotificationsRead]{
			Weigh: func(r NotificationsRead) int { return len(r.IDs) },
			Most:  notificationsPerReceipt * cfg.Marks.BatchMax, Queue: cfg.Marks.Queue, Timeout: cfg.Marks.Timeout,
		}, log),
	}
	s.markers = markers.New(writer.Submit, func(e chat.RoomEvent) { s.ephemeralFailed(publisher.Ephemeral(e)) })
	return s
}

// Run writes receipts and notifications read until ctx ends, and then those that it has taken. It ends after the acts of moderators
// that are under way, so the Writer has to run for longer.
func (s *Service) Run(ctx context.Context) error {
	var groups sync.WaitGroup
	groups.Go(func() { s.receipts.Run(ctx) })
	groups.Go(func() { s.marks.Run(ctx) })
	groups.Wait()
	s.reactions.Close()
	s.markers.Close()
	for range maxActs { // those under way are awaited, and no more begin
		s.acts <- struct{}{}
	}
	return nil
}

// Draft is a message to send.
type Draft struct {
	Room        chat.RoomID
	Content     string
	Type        string // "" = DefaultType
	ClientMsgID string
	Extras      *chat.Extras // of ReplyTo only the ID; nil = none
}

func (d *Draft) check() error {
	switch {
	case d.Content == "":
		return fault.New(fault.Invalid, "content must not be empty")
	case len(d.Content) > chat.MaxContent:
		return fault.Newf(fault.TooLarge, "content must have at most %d bytes", chat.MaxContent)
	case len(d.Type) > chat.MaxType && utf8.RuneCountInString(d.Type) > chat.MaxType:
		return fault.Newf(fault.Invalid, "type must have at most %d characters", chat.MaxType)
	case len(d.ClientMsgID) > limits.ClientMsgIDBytes || utf8.RuneCountInString(d.ClientMsgID) > limits.ClientMsgIDChars:
		return fault.Newf(fault.Invalid, "clientMsgId must have at most %d characters", limits.ClientMsgIDChars)
	}
	if err := checkExtras(d.Extras); err != nil {
		return err
	}
	if err := chat.CheckText("content", d.Content); err != nil {
		return err
	}
	if err := chat.CheckText("type", d.Type); err != nil {
		return err
	}
	if d.Type == "" {
		d.Type = chat.DefaultType
	}
	return chat.CheckText("clientMsgId", d.ClientMsgID)
}

// Send stores a message of a member and then tells the room. What the socket was typing is what it sent.
func (s *Service) Send(c Caller, d Draft, done func(rules.Outcome)) error {
	if err := d.check(); err != nil {
		return err
	}
	room, socket := d.Room, c.Socket // all that is kept until the commit
	return s.writer.Submit(rules.Send{
		Origin:  c.in(room),
		Content: d.Content, Type: d.Type, ClientMsgID: d.ClientMsgID, Extras: d.Extras,
	}, func(o rules.Outcome) {
		if o.Err == nil {
			s.typing.Stop(room, socket)
		}
		done(o)
	})
}

// Post stores a message in the name of a user, who has to be a member, or of the System, and waits for the commit.
func (s *Service) Post(ctx context.Context, user chat.UserID, d Draft) (rules.Outcome, error) {
	if err := d.check(); err != nil {
		return rules.Outcome{}, err
	}
	c := rules.Send{Origin: rules.Origin{Room: d.Room, User: user, Asker: rules.AskedIn(ctx)}, Content: d.Content, Type: d.Type, ClientMsgID: d.ClientMsgID, Extras: d.Extras}
	if user == chat.System {
		c.System, c.Name.Text = true, chat.SystemName
	}
	o, err := s.writer.Do(ctx, c)
	if err == nil {
		s.typing.StopUser(d.Room, user) // its backend sends what it typed
	}
	return o, err
}

// RoomMessage tells everyone in the room what a member said, without storing it.
func (s *Service) RoomMessage(ctx context.Context, c Caller, room chat.RoomID, emit chat.Emit) error {
	if err := s.require(ctx, c, room, access.Speak); err != nil {
		return err
	}
	return unavailable(s.publisher.Ephemeral(chat.RoomEvent{Room: room, Fact: chat.RoomMessage{Emit: emit}, CausedAt: c.At, Trace: c.Trace}))
}

// Broadcast tells every socket of the caller's namespace but its own, if the operator lets the caller.
func (s *Service) Broadcast(c Caller, emit chat.Emit) error {
	if err := s.cfg.Broadcast.refuse(c); err != nil {
		return err
	}
	return unavailable(s.publisher.Broadcast(c.Namespace, emit, c.Socket))
}

// Announce tells every socket of the caller's namespace; only an admin may.
func (s *Service) Announce(c Caller, emit chat.Emit) error {
	if !c.Admin {
		return fault.New(fault.Forbidden, "Only an admin may announce")
	}
	s.log.Info("security event", slog.String("event", "announcement"), slog.String("user_id", string(c.User)),
		slog.String("namespace", c.Namespace))
	return unavailable(s.publisher.Broadcast(c.Namespace, emit, ""))
}

// StartTyping tells the others in the room, unless they know already.
func (s *Service) StartTyping(ctx context.Context, c Caller, room chat.RoomID) error {
	known, err := s.standings.Require(ctx, c.of(room), c.granted(room), access.Speak)
	if err != nil {
		return err
	}
	return s.typing.Start(room, c.User, c.Name.Or(known).Text, c.Socket)
}

// StopTyping tells the others in the room, if they know of a start.
func (s *Service) StopTyping(ctx context.Context, c Caller, room chat.RoomID) error {
	if err := s.require(ctx, c, room, access.Attend); err != nil {
		return err
	}
	s.typing.Stop(room, c.Socket)
	return nil
}

// Rename stores names that have changed, for all rooms of their users. A name that is older than what is known changes nothing.
func (s *Service) Rename(ctx context.Context, names []chat.UserName) error {
	return s.store.Rename(ctx, names)
}

// ephemeralFailed notes that an event about something stored was not published.
func (s *Service) ephemeralFailed(err error) {
	if err != nil {
		s.log.Debug("ephemeral event not published", slog.Any("error", err))
	}
}

// unavailable makes a fault of a failure to publish.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return &fault.Error{Kind: fault.Unavailable, Message: "Service unavailable", RetryAfter: time.Second, Cause: err}
}
