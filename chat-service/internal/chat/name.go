package chat

import (
	"cmp"
	"slices"
)

// Name is how a user is shown to others. It changes in auth-service, which tells of it, and a socket keeps the one with
// which it connected: of the names that are known the one with the largest version is the present one.
type Name struct {
	Text    string // "" = not known
	Version int64  // 0 = not known to have changed
}

// Or gives n, unless it is not known or known is newer.
func (n Name) Or(known Name) Name {
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

// unknownLast puts a name before one that is only asked for.
func unknownLast(x, y UserName) int {
	switch {
	case x.Text == "" && y.Text != "":
		return 1
	case x.Text != "" && y.Text == "":
		return -1
	}
	return 0
}

// Newest keeps one name of each user, in place and in the order of users.
func Newest(names []UserName) []UserName {
	slices.SortStableFunc(names, func(x, y UserName) int {
		return cmp.Or(cmp.Compare(x.User, y.User), cmp.Compare(y.Version, x.Version), unknownLast(x, y))
	})
	return slices.CompactFunc(names, func(x, y UserName) bool { return x.User == y.User })
}
