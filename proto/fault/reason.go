package fault

import (
	"errors"
	"strings"
)

// Reason says why something is refused, more closely than the Kind: the Kind tells a client whether to try again, the Reason
// what to show. Of a refused CONNECT it is the data.code of the CONNECT_ERROR that the client gets, of a refused event the
// reason in the ack. A Reason travels beside the kind from a service to the gateway, which passes on those that it does not
// know as well.
type Reason string

// The reasons why an event is refused, as in docs/events.md, "Acks".
const (
	ReasonBanned     Reason = "banned"           // from the room, until Until
	ReasonMuted      Reason = "muted"            // in the room, until Until
	ReasonNotAllowed Reason = "not_allowed"      // the role in the room does not suffice, or nobody may
	ReasonExists     Reason = "exists"           // there is such a room already
	ReasonKind       Reason = "kind_not_allowed" // rooms of this kind are not made so
	ReasonBlocked    Reason = "blocked"          // one of two users has blocked the other
	ReasonInvite     Reason = "invite_expired"   // the invite is used up, over, or was none
	ReasonLastOwner  Reason = "last_owner"       // the room would have no owner
	ReasonChanged    Reason = "changed"          // the room is another version by now
	ReasonSlowMode   Reason = "slow_mode"        // the member has said something a moment ago; RetryAfter says when it may again
	ReasonArchived   Reason = "archived"         // the room can be read only
	ReasonRoomFull   Reason = "room_full"        // the room has as many members as it may have
	ReasonRooms      Reason = "too_many_rooms"   // the user has made as many as it may for a while

	ReasonReplyGone  Reason = "reply_gone"          // the message that is answered is deleted, or was never there
	ReasonMention    Reason = "mention_not_allowed" // the whole room is mentioned by a moderator only
	ReasonNotAuthor  Reason = "not_author"          // the message is another user's
	ReasonEditWindow Reason = "edit_window"         // the message is too old to be edited
	ReasonDeleted    Reason = "deleted"             // the message was deleted
	ReasonKeys       Reason = "too_many_keys"       // the message has as many different reactions as it may have
)

// The reasons why a CONNECT is refused for good, as in docs/events.md, "Refusals".
const (
	ReasonNoToken   Reason = "authentication_required" // no token was given
	ReasonToken     Reason = "invalid_token"           // the token is not good, or no longer
	ReasonUserID    Reason = "invalid_user_id"         // the token is good, but its subject is outside the bounds of user ids
	ReasonNoUser    Reason = "user_not_found"          // a good token of nobody
	ReasonDisabled  Reason = "user_disabled"           // a good token of a user who is not let in
	ReasonNamespace Reason = "invalid_namespace"       // there is no such namespace
	ReasonSockets   Reason = "too_many_sockets"        // the user has as many sockets as it may
)

// Refusals are the reasons for which a CONNECT is refused.
func Refusals() []Reason {
	return []Reason{ReasonNoToken, ReasonToken, ReasonUserID, ReasonNoUser, ReasonDisabled, ReasonNamespace, ReasonSockets}
}

// Refusal returns the fault that refuses a CONNECT; the cause is never shown and may be nil.
func Refusal(reason Reason, cause error) *Error {
	f := &Error{Kind: Unauthenticated, Reason: reason, Cause: cause}
	switch reason {
	case ReasonNoToken:
		f.Message = "Authentication required"
	case ReasonToken, ReasonUserID, ReasonDisabled:
		f.Message = "Invalid token"
	case ReasonNoUser:
		f.Message = "User not found"
	case ReasonNamespace:
		f.Kind, f.Message = Invalid, "Invalid namespace"
	case ReasonSockets:
		f.Kind, f.Message = RateLimited, "Too many connections of this user"
	default:
		f.Message = "Refused"
	}
	return f
}

// What one service says to another that may not ask, or not for that. It is part of the contract between them, as older ones say the same.
const (
	notAService  = "Not a service"
	notForCaller = " may not call this"
)

// NotAService refuses a caller that shows no token of a service, as it happens while tokens are being replaced.
func NotAService() *Error { return New(Unauthenticated, notAService) }

// NotForCaller refuses a service what is for others.
func NotForCaller(name string) *Error { return New(Forbidden, name+notForCaller) }

// ofCaller tells whether it is the calling service that is refused, not the client that it asks for.
func (e *Error) ofCaller() bool {
	return e.Reason == "" && (e.Kind == Unauthenticated && e.Message == notAService || e.Kind == Forbidden && strings.HasSuffix(e.Message, notForCaller))
}

// RefusalOf returns the refusal of a CONNECT that err holds. ok is false for every other error, also for an
// Unauthenticated that is not about the client's token, such as that of a caller that is no service of ours.
//
// An auth-service older than the Reason sends none: its three messages, which were part of the contract, stand for the
// reasons. That keeps a gateway of today and an older auth-service working together while the parts of a system are
// replaced, in any order; the other way round, the older gateway reads the messages, which have stayed.
func RefusalOf(err error) (refusal *Error, ok bool) {
	f, ok := errors.AsType[*Error](err)
	if !ok || f.Kind != Unauthenticated {
		return nil, false
	}
	if f.Reason != "" {
		return f, true
	}
	for _, reason := range []Reason{ReasonNoToken, ReasonToken, ReasonNoUser} {
		if known := Refusal(reason, f.Cause); known.Message == f.Message {
			return known, true
		}
	}
	return nil, false
}
