package chat

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/proto/fault"
)

// InviteHash is what is kept of an invite, which itself nobody keeps but those who got it.
type InviteHash [sha256.Size]byte

// InviteSalt is what an invite is made from, together with the idempotency key of the request for it: who has only one of the two has no invite.
type InviteSalt [16]byte

// InviteOf makes an invite. The same salt and key make the same one, so that it need not be kept for who asks again.
func InviteOf(salt InviteSalt, key string) string {
	mac := hmac.New(sha256.New, salt[:])
	_, _ = mac.Write([]byte(key))
	return base32.StdEncoding.EncodeToString(mac.Sum(nil)[:inviteBytes])
}

// inviteBytes is how many bytes of a hash an invite has.
const inviteBytes = 20

// HashInvite gives what is kept of an invite.
func HashInvite(invite string) InviteHash { return sha256.Sum256([]byte(invite)) }

// Invitation opens a room to whoever has the invite.
type Invitation struct {
	Hash  InviteHash
	Room  RoomID
	By    UserID
	Role  access.Role // of those who join by it
	Uses  int         // left; 0 = it is used up
	Until time.Time
}

// Invite makes an invitation. Its Room and By are those of the Origin.
type Invite struct {
	Origin

	Hash  InviteHash
	Salt  InviteSalt // of the invite; only for the Outcome
	Role  access.Role
	Uses  int
	Until time.Time
}

func (c Invite) need(n *Needs) { n.Members = append(n.Members, c.membership()) }

// decide makes the invitation. Nobody invites to a role above its own.
func (c Invite) decide(b *batch) Outcome {
	r := b.room(c.Room)
	s := b.asking(r, c.Origin)
	switch err := s.Refuse(access.Moderate, b.state.At); {
	case err != nil:
		return Outcome{Err: err}
	case r.Archived:
		return Outcome{Err: access.Archived()}
	case s.Kind == access.Direct:
		return Outcome{Err: ErrDirect()}
	case c.Role.Above(s.Role):
		return Outcome{Err: errRank()}
	}
	b.changes.Invites = append(b.changes.Invites, Invitation{c.Hash, c.Room, c.User, c.Role, c.Uses, c.Until})
	b.audit(c.Origin, Audit{Act: actInvite, Role: c.Role, Until: c.Until})
	return Outcome{Changed: true, Details: &Details{Until: c.Until, Salt: c.Salt}}
}

// invitation gives the invitation that a Join shows, if it lets the user in now: its maker still has to be one who may invite to that
// role.
func (b *batch) invitation(c Join, r *changingRoom) (Invitation, bool) {
	i, ok := b.invites[c.Invite]
	if !ok {
		i, ok = b.state.Invites[c.Invite]
	}
	if !ok || i.Room != c.Room || i.By != c.Inviter || i.Uses < 1 || !i.Until.After(b.state.At) || r.Kind == access.Direct {
		return Invitation{}, false
	}
	if i.By == System {
		return i, true
	}
	maker := b.standing(r, i.By, b.member(Membership{c.Room, i.By}))
	return i, maker.Member && !access.RoleModerator.Above(maker.Role) && !i.Role.Above(maker.Role)
}

// enterInvited makes the user of c a member by an invitation; one who was a member by a token is one from now on whatever its token says.
func (b *batch) enterInvited(c Join, r *changingRoom, i Invitation, member bool) Outcome {
	switch {
	case !member && r.Archived:
		return Outcome{Err: access.Archived()}
	case !member && b.full(c.Room, r):
		return Outcome{Err: errFull()}
	}
	if !member {
		if err := b.spendJoin(c.User); err != nil {
			return Outcome{Err: err}
		}
	}
	b.redeem(i)
	if member {
		m := b.change(c.membership())
		m.Role, m.ByToken = i.Role, false
		return Outcome{Changed: true}
	}
	return b.enter(c.Origin, r, Invited{User: c.User, Role: i.Role}, b.name(c.Origin))
}

// redeem counts a use of an invitation.
func (b *batch) redeem(i Invitation) {
	i.Uses--
	if b.invites == nil {
		b.invites = map[InviteHash]Invitation{}
	}
	b.invites[i.Hash] = i
	b.changes.Invites = append(b.changes.Invites, i)
}

// ErrInvite refuses an invite that is none, or none any more. What is said is the same for a room that there is not.
func ErrInvite() error {
	return fault.Because(fault.Forbidden, fault.ReasonInvite, "The invite is not good, or no longer")
}

var _ Command = Invite{}
