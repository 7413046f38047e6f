package chat

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
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

// ID names the invitation to moderators, and gives the invite to nobody.
func (h InviteHash) ID() string { return base64.RawURLEncoding.EncodeToString(h[:]) }

// ParseInviteID is the way back from ID; fault Invalid names the field.
func ParseInviteID(field, id string) (h InviteHash, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(raw) != len(h) {
		return h, fault.Newf(fault.Invalid, "%s must be the id of an invite", field)
	}
	return InviteHash(raw), nil
}

// Invitation opens a room to whoever has the invite.
type Invitation struct {
	Hash  InviteHash
	Room  RoomID
	By    UserID
	Role  access.Role // of those who join by it
	Uses  int         // left; 0 = it is used up
	Until time.Time
}
