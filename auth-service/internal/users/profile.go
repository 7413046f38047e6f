package users

import (
	"time"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
)

const (
	// maxData bounds the data of a user, in bytes of JSON, and maxDataDepth how deeply it nests.
	maxData      = 4 << 10
	maxDataDepth = 8
	// maxUpserts bounds one Upsert.
	maxUpserts = 100
)

// Profile is a user as backends see one.
type Profile struct {
	ID        auth.UserID
	Username  string // "" for users of another login system
	Name      string
	AvatarURL string // "" when there is none
	Data      []byte // a JSON object; nil when there is none
	Role      auth.Role
	Disabled  bool
	CreatedAt time.Time
}

// Change says what becomes of a user; nil leaves it as it is.
type Change struct {
	ID        auth.UserID
	Name      *string
	AvatarURL *string // "" removes it
	Data      []byte  // a JSON object; empty removes it
	Disabled  *bool
}

// Check brings what came from outside into its form. The fault is Invalid or TooLarge.
func (c *Change) Check() error {
	if c.Name != nil {
		name := limits.DisplayName(*c.Name)
		if name == "" {
			return fault.New(fault.Invalid, "name must have a character that can be seen")
		}
		c.Name = &name
	}
	if c.AvatarURL != nil && *c.AvatarURL != "" && !limits.ValidAvatarURL(*c.AvatarURL) {
		return fault.Newf(fault.Invalid, "avatarUrl must be an http or https address of at most %d bytes", limits.AvatarURLBytes)
	}
	switch {
	case c.Data == nil:
		return nil
	case len(c.Data) > maxData:
		return fault.Newf(fault.TooLarge, "data must not exceed %d bytes", maxData)
	case rawjson.Valid(c.Data, maxDataDepth) != nil || c.Data[rawjson.SkipSpace(c.Data, 0)] != '{':
		return fault.Newf(fault.Invalid, "data must be a JSON object of at most %d levels", maxDataDepth)
	}
	return nil
}
