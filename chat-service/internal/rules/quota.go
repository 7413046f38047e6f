package rules

import (
	"slices"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// Quotas bound rooms, and what one user does to them, over all gateways and replicas: what was used is read and written in the transaction
// that uses it, under the lock of the user's name. A backend that asks as itself may make and enter what it likes. The zero value
// bounds nothing.
type Quotas struct {
	Members   int // of one room, whatever its settings say; 0 = as many as they say
	Rooms     int // that a user makes in an hour; 0 = as many as it likes
	JoinRate  int // rooms that a user enters in a minute, for long; 0 = as many as it likes
	JoinBurst int // and at once
}

// Usage is what a user has used of its Quotas.
type Usage struct {
	Made []time.Time // when it made rooms, oldest first; those of more than an hour ago do not count
	// Joined is when all joins so far are paid for, each with a minute divided by the rate; from the past on all of the burst is left.
	Joined time.Time
}

// UserUsage is the usage of a user.
type UserUsage struct {
	User chat.UserID
	Usage
}

const (
	roomsPeriod = time.Hour
	joinsPeriod = time.Minute
)

// found makes a room that there was not, with so many others in it, if its maker may make it; nil without an error: it exists.
func (b *batch) found(o Origin, as chat.NewRoom, others int) (*changingRoom, error) {
	if b.room(o.Room) != nil || !b.state.Fresh[o.Room] {
		return nil, nil //nolint:nilnil // a room that exists is no mistake
	}
	if o.User.Guest() {
		return nil, errGuestRoom()
	}
	if o.User != chat.System {
		others++
	}
	if most := b.state.Quotas.Members; most > 0 && others > most {
		return nil, errFull()
	}
	if err := b.spendRoom(o.User); err != nil {
		return nil, err
	}
	return b.make(o.Room, as), nil
}

// spendRoom takes one room of a user's quota.
func (b *batch) spendRoom(user chat.UserID) error {
	most := b.state.Quotas.Rooms
	if most == 0 || user == chat.System {
		return nil
	}
	used := b.used(user)
	since := b.state.At.Add(-roomsPeriod)
	made := slices.DeleteFunc(slices.Clone(used.Made), func(at time.Time) bool { return !at.After(since) })
	if len(made) >= most {
		f := fault.Because(fault.RateLimited, fault.ReasonRooms, "You make too many rooms")
		f.RetryAfter = made[len(made)-most].Sub(since)
		return f
	}
	used.Made = append(made, b.state.At)
	b.use(user, used)
	return nil
}

// spendJoin takes one join of a user's quota.
func (b *batch) spendJoin(user chat.UserID) error {
	q := b.state.Quotas
	if q.JoinRate == 0 || user == chat.System {
		return nil
	}
	used := b.used(user)
	price := joinsPeriod / time.Duration(q.JoinRate)
	paid := used.Joined
	if paid.Before(b.state.At) {
		paid = b.state.At
	}
	paid = paid.Add(price)
	if early := paid.Sub(b.state.At) - time.Duration(q.JoinBurst)*price; early > 0 {
		return fault.Retry(fault.RateLimited, "You enter rooms too often", early)
	}
	used.Joined = paid
	b.use(user, used)
	return nil
}

// used is what a user has used by now.
func (b *batch) used(user chat.UserID) Usage {
	if u, ok := b.usage[user]; ok {
		return u
	}
	return b.state.Usage[user]
}

func (b *batch) use(user chat.UserID, u Usage) {
	if b.usage == nil {
		b.usage = map[chat.UserID]Usage{}
	}
	b.usage[user] = u
}
