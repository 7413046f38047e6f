package session_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// logged gives the records with a message.
func logged(t *testing.T, log *faulttest.Log, message string) (found []map[string]any) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("log line %s: %v", line, err)
		}
		if record["msg"] == message {
			found = append(found, record)
		}
	}
	return found
}

// TestEveryConnectionHasOneClosingLine: it says whose the connection was, from where and why it ended; whatever ended it, there is one,
// and no token is in it.
func TestEveryConnectionHasOneClosingLine(t *testing.T) {
	const token = "a-token-of-somebody"
	for what, test := range map[string]struct {
		end    func(c *sessiontest.Conn, s *session.Session)
		reason transport.Reason
		user   any
	}{
		"by the client": {func(c *sessiontest.Conn, _ *session.Session) { c.Say("1") }, transport.ReasonClient, "user"},
		"by the server": {
			func(_ *sessiontest.Conn, s *session.Session) { s.Close(transport.CodePolicy, transport.ReasonExpired) },
			transport.ReasonExpired, "user",
		},
		"nonsense": {func(c *sessiontest.Conn, _ *session.Session) { c.Say("4x") }, transport.ReasonProtocol, "user"},
		"after its sockets left": {
			func(c *sessiontest.Conn, _ *session.Session) { c.Say("41", "41/custom,", "1") },
			transport.ReasonClient, "user",
		},
	} {
		t.Run(what, func(t *testing.T) {
			var log faulttest.Log
			server := session.NewServer(sessiontest.Config(), session.NewSIDs("test", []byte("key")), newApp(), socketio.NewNames("/"), sessiontest.Stats(), log.Logger())
			c, s := sessiontest.Open(server, session.Headers{RemoteIP: "192.0.2.9", Authorization: "Bearer " + token})
			c.Say(`40{"token":"`+token+`"}`, "40/custom,")
			id := sid(t, c.WaitFor(t, "40{"))
			test.end(c, s)
			sessiontest.Eventually(t, func() bool { return len(logged(t, &log, "connection closed")) > 0 }, log.String)
			s.Closed(transport.ReasonLost) // a second end is none
			lines := logged(t, &log, "connection closed")
			if len(lines) != 1 {
				t.Fatalf("%d closing lines, want 1:\n%s", len(lines), log.String())
			}
			line := lines[0]
			if line["reason"] != string(test.reason) || line["user_id"] != test.user || line["address"] != "192.0.2.9" ||
				line["transport"] != "websocket" || line["socket_id"] != id {
				t.Errorf("closing line %v, want the reason %s, user %v at 192.0.2.9 with the socket %s", line, test.reason, test.user, id)
			}
			if strings.Contains(log.String(), token) {
				t.Error("the log has the token")
			}
		})
	}
}

// TestClosingLineOfNobody: a connection that never got into a namespace has its line, too.
func TestClosingLineOfNobody(t *testing.T) {
	var log faulttest.Log
	server := session.NewServer(sessiontest.Config(), session.NewSIDs("test", []byte("key")), newApp(), socketio.NewNames("/"), sessiontest.Stats(), log.Logger())
	c, _ := sessiontest.Open(server, session.Headers{RemoteIP: "192.0.2.9"})
	c.Say("40/no,", "1")
	sessiontest.Eventually(t, func() bool { return len(logged(t, &log, "connection closed")) > 0 }, log.String)
	if line := logged(t, &log, "connection closed")[0]; line["user_id"] != "" || line["address"] != "192.0.2.9" {
		t.Errorf("closing line %v, want one of nobody at 192.0.2.9", line)
	}
}

// TestRefusedConnectsAreSampledByReason: a flood of one reason is one record a second and hides no other; the counter has all.
func TestRefusedConnectsAreSampledByReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log faulttest.Log
		st := sessiontest.Stats()
		server := session.NewServer(sessiontest.Config(), session.NewSIDs("test", []byte("key")), newApp(), socketio.NewNames("/"), st, log.Logger())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = server.Run(ctx) }()
		_, s := sessiontest.Open(server, session.Headers{RemoteIP: "192.0.2.9"})
		for range 100 {
			s.LogRefusal("/", "invalid_token")
		}
		s.LogRefusal("/"+strings.Repeat("n", 1000), "invalid_namespace")
		time.Sleep(time.Second)
		s.LogRefusal("/", "invalid_token")
		lines := logged(t, &log, "security event")
		if len(lines) != 3 || lines[0]["cause"] != "invalid_token" || lines[1]["cause"] != "invalid_namespace" || lines[2]["skipped"] != 99.0 {
			t.Errorf("records %v, want one for each reason, and one a second later with 99 skipped", lines)
		}
		for _, line := range lines {
			if line["event"] != "connect" || line["result"] != "refused" || line["address"] != "192.0.2.9" || len(line["namespace"].(string)) > 64 {
				t.Errorf("record %v, want a refused connect from 192.0.2.9 with a short namespace", line)
			}
		}
		if got := testutil.ToFloat64(st.Refusals.WithLabelValues("invalid_token")); got != 101 {
			t.Errorf("the counter says %v, want 101", got)
		}
	})
}
