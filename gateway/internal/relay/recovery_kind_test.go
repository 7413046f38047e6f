package relay

import (
	"strings"
	"testing"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
)

// TestRecoveryByKindOfClient: a client whose handlers break on one more argument gets no offsets unless it asks for recovery; others
// get them unless they do not want them.
func TestRecoveryByKindOfClient(t *testing.T) {
	f := newFleet(t, nil)
	g := f.start("g1")
	for _, tt := range []struct {
		fixed    bool
		recovery string
		want     bool
	}{
		{false, ``, true},
		{false, `,"recovery":true`, true},
		{false, `,"recovery":false`, false},
		{false, `,"recovery":null`, true},
		{true, ``, false},
		{true, `,"recovery":true`, true},
		{true, `,"recovery":false`, false},
		{true, `,"recovery":1`, false},
	} {
		c, _ := sessiontest.Open(g.sessions, session.Headers{FixedArguments: tt.fixed})
		c.Say(`40{"token":"a"` + tt.recovery + `}`)
		reply := c.WaitFor(t, "40{")
		c.Say(`421["room:join","r"]`)
		c.WaitFor(t, "431")
		events := strings.Join(c.Packets(), "\n")
		if pid, offset := strings.Contains(reply, `"pid"`), strings.Contains(events, offsetMark); pid != tt.want || offset != tt.want {
			t.Errorf("fixed arguments %v, auth %q: pid %v, offsets %v, want %v", tt.fixed, tt.recovery, pid, offset, tt.want)
		}
	}
}

const offsetMark = `,"o1.`
