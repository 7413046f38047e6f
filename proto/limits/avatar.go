package limits

import "net/url"

// AvatarURLBytes bounds the address of a user's or a room's picture.
const AvatarURLBytes = 2048

// ValidAvatarURL tells whether s can be the address of a picture: http or https with a host, without a password.
func ValidAvatarURL(s string) bool {
	if s == "" || len(s) > AvatarURLBytes {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil
}
