package edge

import (
	"errors"
	"regexp"
	"strings"
)

// DefaultPath is where clients look for the server unless they are told another path.
const DefaultPath = "/socket.io/"

// socketPath is what a path may be: segments of characters that no client and no proxy writes in another way.
var socketPath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+/$`)

// ParsePath reads the path of Socket.IO, with or without the slash at its end, as official servers take it; empty is the default. It
// refuses a path that hides the rest of what a gateway serves.
func ParsePath(s string) (string, error) {
	if s == "" {
		return DefaultPath, nil
	}
	p := strings.TrimSuffix(s, "/") + "/"
	switch {
	case !socketPath.MatchString(p) || strings.Contains(p, "/./") || strings.Contains(p, "/../"):
		return "", errors.New("it must be a path such as " + DefaultPath + " of letters, digits, ., _, ~ and -")
	case p == "/api/" || strings.HasPrefix(p, "/api/v1/") || strings.HasPrefix(p, "/.well-known/"):
		return "", errors.New("that path is served by something else")
	}
	return p, nil
}
