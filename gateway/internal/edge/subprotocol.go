package edge

import (
	"net/http"
	"strings"
)

// subprotocol is the first one of those that a client offers for its WebSocket, which is the one that official servers take: browsers
// fail a WebSocket whose offer is not answered. It is empty when none is offered.
func subprotocol(r *http.Request) string {
	for offered := range strings.SplitSeq(r.Header.Get("Sec-WebSocket-Protocol"), ",") {
		if offered = strings.Trim(offered, " \t"); isToken(offered) {
			return offered
		}
	}
	return ""
}

// isToken tells whether s is a token of HTTP (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
