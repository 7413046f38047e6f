package rules

import (
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/message"
)

// Command is one write that takes a number of a room's sequence: such as Send or Join. A Command is a value that nobody changes.
type Command interface {
	// origin tells which room's sequence the command advances, and in whose name.
	origin() Origin
	// need adds to n what has to be known before the command is decided.
	need(n *Needs)
	// decide does the command to the batch: it adds to the changes and says what became of the command.
	decide(b *batch) Outcome
}

// RoomOf tells which room's sequence a command advances.
func RoomOf(c Command) chat.RoomID { return c.origin().Room }

// TraceOf is the traceparent of what asks for a command; "" when it is not traced.
func TraceOf(c Command) string { return c.origin().Trace }

// Origin is where a command comes from.
type Origin struct {
	Room     chat.RoomID
	User     chat.UserID
	Name     chat.Name     // of the user, as the socket knows it
	Socket   string        // is not told what its own join or leave did; "" = everybody is told
	Granted  access.Rights // what the user's token opens of the room, or that no user asks: then User is System
	Key      string        // by which another backend asks, as itself or as the user, for the audit
	CausedAt time.Time     // when the gateway read the client event; zero = not known
	Trace    string        // traceparent of the span in which the user asks; "" = it is not traced
	Asker    Asker
}

// Asker is who waits for what becomes of a command. What is given up is not done: who asked may have had another thing done since, by
// another replica, that this would undo.
type Asker struct {
	Until time.Time       // when the command is given up; zero = it is not, or nobody knows
	Grace time.Duration   // for how long after Until the outcome is waited for of what was decided before
	Gone  <-chan struct{} // closed when it is given up before; nil = it is not, or nobody tells
}

// AskedIn is who waits as long as a context goes on.
func AskedIn(ctx interface {
	Deadline() (time.Time, bool)
	Done() <-chan struct{}
},
) Asker {
	until, _ := ctx.Deadline()
	return Asker{Until: until, Gone: ctx.Done()}
}

// Times are until when a command may be begun that is to have its outcome by end, or earlier where it is given up, and for how long after that
// the outcome is waited for: for a commit that has begun some time is kept.
func (a Asker) Times(end time.Time, kept time.Duration) (begin time.Time, wait time.Duration) {
	if a.Until.IsZero() {
		return end.Add(-kept), kept
	}
	if whole := a.Until.Add(a.Grace); whole.Before(end) {
		end = whole
	}
	if begin = end.Add(-kept); a.Until.Before(begin) {
		begin = a.Until
	}
	return begin, end.Sub(begin)
}

// AskerOf tells who waits for what becomes of a command.
func AskerOf(c Command) Asker { return c.origin().Asker }

// gaveUp tells whether nobody waits any more.
func (a *Asker) gaveUp(now time.Time) bool {
	if !a.Until.IsZero() && now.After(a.Until) {
		return true
	}
	select {
	case <-a.Gone:
		return true
	default:
		return false
	}
}

func (o Origin) origin() Origin { return o }

func (o Origin) membership() chat.Membership { return chat.Membership{Room: o.Room, User: o.User} }

func (o Origin) name() chat.UserName { return chat.UserName{User: o.User, Name: o.Name} }

// Send stores a message of a member.
type Send struct {
	Origin

	Content     string
	Type        string
	ClientMsgID string // "" when the sender gave none; otherwise a second Send of it gives the first one's outcome
	System      bool   // needs no membership

	Extras *chat.Extras // of ReplyTo only the ID; nil = nothing
}

// Join makes the user a member.
type Join struct {
	Origin

	Create access.Kind // of the room that is made where there is none; "" = none is made

	Invite  chat.InviteHash // that the user shows, if Inviter is set
	Inviter chat.UserID     // who made it
}

// Leave ends the user's membership.
type Leave struct {
	Origin

	Successor chat.UserID // becomes the owner in the user's place, if the user is one; "" = nobody is named
}

// Create makes a room.
type Create struct {
	Origin

	New     chat.NewRoom
	Members []Invited // besides the user, who owns the room
}

// Open makes a direct room, unless there is one.
type Open struct {
	Origin

	Others []Invited // besides the user
}

// Invited is a user whom another one makes a member.
type Invited struct {
	User chat.UserID
	Role access.Role
}

// Position is the place of a message, taken or attempted.
type Position struct {
	Seq uint64
	ID  chat.MessageID
}

// Outcome is what became of one Command.
type Outcome struct {
	// Err refuses this command alone: room unknown, not a member. The others of its batch do not suffer.
	Err error
	// Position and CreatedAt of the message (Send), the first one's for a repeated ClientMsgID.
	Position
	CreatedAt time.Time
	N         uint64 // of the message (Send); 0 = not known
	Version   uint64 // of the room (Update)
	// Changed is false when there was nothing to do: a member joined, a stranger left, a message came again.
	Changed bool
	Details *Details // of a Create, an Invite and a Keyed that succeeded
}

// Details are what few outcomes have to say beside: they would make those of messages larger.
type Details struct {
	Room  chat.RoomID     // that was made (Create)
	Until time.Time       // the end of the invitation (Invite)
	Salt  chat.InviteSalt // of the invite (Invite)
	Parts []Outcome       // of each command (Keyed with Each, Reactions)

	Reactions message.Counts // of the message (React)
	Mine      []string       // keys with which the user has reacted to it (React)
}
