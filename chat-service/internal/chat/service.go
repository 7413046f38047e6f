package chat

import (
	"context"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
)

// Service is the use cases. Its methods take parsed ids and return faults for what the caller did wrong.
type Service struct {
	store     Store
	writer    *Writer
	publisher Publisher
	members   *members
	typing    *Typing
	cfg       Config
	log       *slog.Logger
}

// Config has the choices of an operator.
type Config struct {
	RoomsAutocreate bool          // joining an unknown room creates it
	MembershipTTL   time.Duration // how long an ephemeral event may trust a membership once read
}

// NewService wires the use cases.
func NewService(store Store, writer *Writer, publisher Publisher, typing *Typing, cfg Config, log *slog.Logger) *Service {
	return &Service{
		store: store, writer: writer, publisher: publisher, typing: typing, cfg: cfg, log: log,
		members: newMembers(store, cfg.MembershipTTL),
	}
}

// Draft is a message to send.
type Draft struct {
	Room        RoomID
	Content     string
	Type        string // "" = DefaultType
	ClientMsgID string
}

func (d *Draft) check() error {
	switch {
	case d.Content == "":
		return fault.New(fault.Invalid, "content must not be empty")
	case len(d.Content) > MaxContent:
		return fault.Newf(fault.TooLarge, "content must have at most %d bytes", MaxContent)
	case len(d.Type) > MaxType && utf8.RuneCountInString(d.Type) > MaxType:
		return fault.Newf(fault.Invalid, "type must have at most %d characters", MaxType)
	case len(d.ClientMsgID) > limits.ClientMsgIDBytes || utf8.RuneCountInString(d.ClientMsgID) > limits.ClientMsgIDChars:
		return fault.Newf(fault.Invalid, "clientMsgId must have at most %d characters", limits.ClientMsgIDChars)
	}
	if err := checkText("content", d.Content); err != nil {
		return err
	}
	if err := checkText("type", d.Type); err != nil {
		return err
	}
	if d.Type == "" {
		d.Type = DefaultType
	}
	return checkText("clientMsgId", d.ClientMsgID)
}

// Send stores a message of a member and then tells the room. It returns at once; done is called once after the commit,
// unless Send returns a fault.
func (s *Service) Send(c Caller, d Draft, done func(Outcome)) error {
	if err := d.check(); err != nil {
		return err
	}
	return s.writer.Submit(Send{
		Origin:  c.in(d.Room),
		Content: d.Content, Type: d.Type, ClientMsgID: d.ClientMsgID,
	}, done)
}

// Post stores a message in the name of a user, who has to be a member, or of the System, and waits for the commit.
func (s *Service) Post(ctx context.Context, user UserID, d Draft) (Outcome, error) {
	if err := d.check(); err != nil {
		return Outcome{}, err
	}
	c := Send{Origin: Origin{Room: d.Room, User: user}, Content: d.Content, Type: d.Type, ClientMsgID: d.ClientMsgID}
	if user == System {
		c.System, c.Name = true, SystemName
	}
	return s.writer.Do(ctx, c)
}

// RoomMessage tells everyone in the room what a member said, without storing it.
func (s *Service) RoomMessage(ctx context.Context, c Caller, room RoomID, emit Emit) error {
	if err := s.requireMember(ctx, c, room); err != nil {
		return err
	}
	return unavailable(s.publisher.Ephemeral(RoomEvent{Room: room, Fact: RoomMessage{emit}, CausedAt: c.At}))
}

// Broadcast tells every socket of the caller's namespace but its own.
func (s *Service) Broadcast(c Caller, emit Emit) error {
	return unavailable(s.publisher.Broadcast(c.Namespace, emit, c.Socket))
}

// Announce tells every socket of the caller's namespace; only an admin may.
func (s *Service) Announce(c Caller, emit Emit) error {
	if !c.Admin {
		return fault.New(fault.Forbidden, "Only an admin may announce")
	}
	return unavailable(s.publisher.Broadcast(c.Namespace, emit, ""))
}

// StartTyping tells the others in the room, unless they know already.
func (s *Service) StartTyping(ctx context.Context, c Caller, room RoomID) error {
	if err := s.requireMember(ctx, c, room); err != nil {
		return err
	}
	return s.typing.Start(room, c.User, c.Name, c.Socket)
}

// StopTyping tells the others in the room, if they know of a start.
func (s *Service) StopTyping(ctx context.Context, c Caller, room RoomID) error {
	if err := s.requireMember(ctx, c, room); err != nil {
		return err
	}
	s.typing.Stop(room, c.Socket)
	return nil
}

// MarkRead moves the caller's receipt forward and tells the others in the room; an older message changes nothing.
func (s *Service) MarkRead(ctx context.Context, c Caller, room RoomID, message MessageID) error {
	o, err := s.store.MarkRead(ctx, room, c.User, message)
	switch {
	case err != nil:
		return err
	case !o.RoomExists:
		return errNoRoom()
	case !o.Member:
		return errNotMember()
	case !o.MessageExists:
		return fault.New(fault.NotFound, "Message not found")
	}
	if o.Moved {
		// The receipt is stored: who misses the event sees it with the next one.
		s.ephemeralFailed(ctx, s.publisher.Ephemeral(RoomEvent{
			Room: room, Fact: MessageRead{Message: message, User: c.User, Seq: SeqOf(message)},
			ExceptSocket: c.Socket, CausedAt: c.At,
		}))
	}
	return nil
}

// requireMember answers from memory for a moment, so that ephemeral events do not cost a query each.
func (s *Service) requireMember(ctx context.Context, c Caller, room RoomID) error {
	return s.members.require(ctx, Membership{room, c.User})
}

// ephemeralFailed notes that an event about something stored was not published.
func (s *Service) ephemeralFailed(ctx context.Context, err error) {
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelDebug, "ephemeral event not published", slog.Any("error", err))
	}
}

// unavailable makes a fault of a failure to publish.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return &fault.Error{Kind: fault.Unavailable, Message: "Service unavailable", RetryAfter: time.Second, Cause: err}
}
