package usecases

import (
	"context"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of the lists for moderators.
const (
	maxAuditPage      = 200
	auditPage         = 50 // where nothing else is said
	maxRestrictedPage = 200
)

// AuditEntry is an act that was kept.
type AuditEntry struct {
	rules.Audit

	ID uint64
	At time.Time
}

// AuditPage selects acts; what is zero does not count.
type AuditPage struct {
	Room         chat.RoomID
	User         chat.UserID // whom they concerned
	By           chat.UserID // who did them
	Since, Until time.Time   // from, and before
	Before       uint64      // only older ones than this entry
	Limit        int
}

// Audit lists what was done to rooms and their members, the newest first: to a backend as itself in all rooms, to a moderator in its own.
// more tells that there are older ones. A limit of 0 means 50; at most 200 come.
func (s *Service) Audit(ctx context.Context, c Caller, page AuditPage) (entries []AuditEntry, more bool, err error) {
	if page.Limit <= 0 {
		page.Limit = auditPage
	}
	page.Limit = min(page.Limit, maxAuditPage)
	switch {
	case c.User == chat.System:
	case page.Room == "":
		return nil, false, fault.New(fault.Invalid, "roomId is required")
	default:
		if err := s.mayModerate(ctx, c, page.Room); err != nil {
			return nil, false, err
		}
	}
	entries, err = s.store.Audit(ctx, page)
	if more = len(entries) > page.Limit; more {
		entries = entries[:page.Limit]
	}
	return entries, more, err
}

// RestrictedPage selects users who are banned from a room, or muted there.
type RestrictedPage struct {
	Mutes bool        // false: the banned
	After chat.UserID // only users behind this one; "" = from the start
	Limit int
}

// Restricted is a user with a ban or a mute.
type Restricted struct {
	User  chat.UserID
	Until time.Time
}

// Restricted lists for a moderator who is banned or muted, by user id. more tells that there are others behind them. A limit of 0 means
// 200, the most.
func (s *Service) Restricted(ctx context.Context, c Caller, room chat.RoomID, page RestrictedPage) (users []Restricted, more bool, err error) {
	if page.Limit <= 0 || page.Limit > maxRestrictedPage {
		page.Limit = maxRestrictedPage
	}
	if err := chat.CheckText("after", string(page.After)); err != nil {
		return nil, false, err
	}
	if err := s.mayModerate(ctx, c, room); err != nil {
		return nil, false, err
	}
	users, err = s.store.Restricted(ctx, room, page)
	if more = len(users) > page.Limit; more {
		users = users[:page.Limit]
	}
	return users, more, err
}
