package chat

import (
	"cmp"
	"context"
	"slices"
)

// Name is how a user is shown to others. It changes in auth-service, which tells of it (Service.Rename), and a socket keeps the one with
// which it connected: of the names that are known the one with the largest version is the present one.
type Name struct {
	Text    string // "" = not known
	Version int64  // 0 = not known to have changed
}

// or gives n, unless it is not known or known is newer.
func (n Name) or(known Name) Name {
	if n.Text == "" || known.Text != "" && known.Version > n.Version {
		return known
	}
	return n
}

// UserName is the name of a user.
type UserName struct {
	User UserID
	Name
}

// Newest keeps one name of each user, in place and in the order of users.
func Newest(names []UserName) []UserName {
	slices.SortStableFunc(names, func(x, y UserName) int {
		return cmp.Or(cmp.Compare(x.User, y.User), cmp.Compare(y.Version, x.Version))
	})
	return slices.CompactFunc(names, func(x, y UserName) bool { return x.User == y.User })
}

// Rename stores names that have changed, for all rooms of their users. A name that is older than what is known changes nothing.
func (s *Service) Rename(ctx context.Context, names []UserName) error {
	return s.store.Rename(ctx, names)
}
