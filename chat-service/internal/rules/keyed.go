package rules

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
)

// Who does not know what became of a request asks again with the same idempotency key, and gets the first answer: nothing is done twice. The
// answer is stored in the transaction that does what was asked for, so there is never one without the other. What is refused does nothing;
// it is not kept, and decided anew when it comes again.

const (
	// KeyLife is for how long the answer to a request with a key is kept.
	KeyLife = 24 * time.Hour
	// KeysKept bounds how many answers are kept of one user: the last ones. Those of other backends are bounded by KeyLife alone.
	KeysKept = 1000
)

// ParseKey checks an idempotency key from outside; fault Invalid names the field key.
func ParseKey(key string) (string, error) {
	if !limits.ValidIdempotencyKey(key) {
		return "", fault.Newf(fault.Invalid, "key must be 1 to %d printable characters", limits.IdempotencyKeyChars)
	}
	return key, nil
}

// KeyID is what is kept of an idempotency key: a hash of it, of the room, and of who asks.
type KeyID [sha256.Size]byte

// KeyOf gives the id of a key that somebody uses in a room; the room is "" where the request names none. A key of another user, of another
// backend, or in another room is another key.
func KeyOf(room chat.RoomID, by Origin, key string) KeyID {
	h := sha256.New()
	for _, part := range []string{string(room), string(by.User), by.Key, key} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return KeyID(h.Sum(nil))
}

// Digest tells what was asked for from other things.
type Digest [sha256.Size]byte

// DigestOf gives the digest of a request or a command: of all its fields, but of where it comes from. A field that is zero, or an
// empty list, counts for nothing: a release which has more fields gives the same digest, and a list that is not there is one without entries.
func DigestOf(asked any) Digest {
	h := sha256.New()
	writeDigest(h, reflect.ValueOf(asked))
	return Digest(h.Sum(nil))
}

func writeDigest(to io.Writer, v reflect.Value) {
	if at, ok := reflect.TypeAssert[time.Time](v); ok {
		_, _ = fmt.Fprintf(to, "%d;", at.UnixMilli())
		return
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		writeDigest(to, v.Elem())
	case reflect.Slice, reflect.Array:
		_, _ = fmt.Fprintf(to, "[%d:", v.Len())
		for i := range v.Len() {
			writeDigest(to, v.Index(i))
		}
	case reflect.Struct:
		_, _ = fmt.Fprintf(to, "%s{", v.Type().Name())
		for i := range v.NumField() {
			f := v.Field(i)
			if f.IsZero() || f.Type() == reflect.TypeFor[Origin]() || f.Kind() == reflect.Slice && f.Len() == 0 {
				continue
			}
			_, _ = fmt.Fprintf(to, "%s=", v.Type().Field(i).Name)
			writeDigest(to, f)
		}
		_, _ = io.WriteString(to, "}")
	case reflect.String:
		_, _ = fmt.Fprintf(to, "%q;", v.String())
	default:
		_, _ = fmt.Fprintf(to, "%v;", v)
	}
}

// Keyed is commands of one request in one room that are done once for its key, one after the other.
type Keyed struct {
	Key      KeyID
	Asked    Digest
	Commands []Command // one at least
	// Each tells that the answer has the Outcome of each command, refused or not: Details.Parts.
	Each bool
}

// Answer is what is kept of the answer to a request with a key.
type Answer struct {
	Asked    Digest
	At       time.Time // when it was given
	Outcomes []Outcome // by command; of those that were refused only the reason is kept
}

// NewAnswer is an Answer to keep.
type NewAnswer struct {
	Key KeyID
	By  Origin
	Answer
}

func (c Keyed) origin() Origin { return c.Commands[0].origin() }

func (c Keyed) need(n *Needs) {
	n.Keys = append(n.Keys, c.Key)
	for _, command := range c.Commands {
		command.need(n)
	}
}

// decide does the commands, unless they were done before.
func (c Keyed) decide(b *batch) Outcome {
	first, known := b.state.Answers[c.Key]
	if i := slices.IndexFunc(b.changes.Answers, func(a NewAnswer) bool { return a.Key == c.Key }); i >= 0 {
		first, known = b.changes.Answers[i].Answer, true
	}
	if known {
		return c.Again(first)
	}
	answer := Answer{Asked: c.Asked, At: b.state.At}
	for _, command := range c.Commands {
		o := command.decide(b)
		if f, ok := errors.AsType[*fault.Error](o.Err); o.Err != nil && (!c.Each || !ok || f.Reason == "") {
			return Outcome{Err: o.Err}
		}
		answer.Outcomes = append(answer.Outcomes, o)
	}
	b.changes.Answers = append(b.changes.Answers, NewAnswer{c.Key, c.origin(), answer})
	return c.outcome(answer)
}

// Again is the outcome of a repeat: the first one's, unless something else was asked for then.
func (c Keyed) Again(first Answer) Outcome {
	if first.Asked != c.Asked || len(first.Outcomes) != len(c.Commands) {
		return Outcome{Err: fault.New(fault.Invalid, "key was given with another request")}
	}
	return c.outcome(first)
}

func (c Keyed) outcome(a Answer) Outcome {
	if c.Each {
		return Outcome{CreatedAt: a.At, Details: &Details{Parts: a.Outcomes}}
	}
	return a.Outcomes[0]
}

var _ Command = Keyed{}
