package limits

import "strings"

// guestPrefix begins the id of a guest. A UUID of version 7 follows, in lower case.
const guestPrefix = "guest:"

// GuestID is the id of a guest, who needs no account and has fewer rights than users with one.
func GuestID(uuid string) string { return guestPrefix + uuid }

// IsGuestID tells whether a user id is that of a guest. The id says so by itself, to every service at any time: also of a user who is named by
// others, of whom there is no token at hand, and without a question to auth-service, which alone makes such ids.
func IsGuestID(userID string) bool {
	uuid, ok := strings.CutPrefix(userID, guestPrefix)
	if !ok || len(uuid) != len("01234567-89ab-7def-8123-456789abcdef") {
		return false
	}
	for i := range len(uuid) {
		c := uuid[i]
		switch i {
		case 8, 13, 18, 23:
			ok = ok && c == '-'
		case 14:
			ok = ok && c == '7'
		default:
			ok = ok && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f')
		}
	}
	return ok
}
