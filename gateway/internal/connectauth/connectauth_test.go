package connectauth_test

import (
	"testing"

	"github.com/starling-chat/starling/gateway/internal/connectauth"
	"github.com/starling-chat/starling/gateway/internal/session"
)

func TestToken(t *testing.T) {
	for _, tc := range []struct {
		auth, header, token string
		ok                  bool
	}{
		{"", "", "", true},
		{`{"token":"t"}`, "", "t", true},
		{`{"token":"t\u0041"}`, "", "tA", true},
		{`{"token":"t"}`, "Bearer h", "t", true},
		{`{"other":1}`, "Bearer h", "h", true},
		{`{"token":null}`, "Bearer h", "h", true},
		{`{"token":""}`, "Bearer h", "h", true},
		{`{"token":7}`, "Bearer h", "", false},
		{`{"token":{"a":"b"}}`, "", "", false},
		{`{"a":{"token":"inner"}}`, "", "", true},
		{"", "bearer  h ", "h", true},
		{"", "Basic h", "", true},
		{"", "Bearer", "", true},
	} {
		if token, ok := connectauth.Token([]byte(tc.auth), session.Headers{Authorization: tc.header}); token != tc.token || ok != tc.ok {
			t.Errorf("Token(%s, %q) = %q, %v, want %q, %v", tc.auth, tc.header, token, ok, tc.token, tc.ok)
		}
	}
}

func TestInbox(t *testing.T) {
	for auth, want := range map[string]bool{
		"": false, `{}`: false, `{"inbox":true}`: true, `{"inbox":false}`: false, `{"inbox":"true"}`: false, `{"inbox":null}`: false, `{"inbox":1}`: false,
		`{"token":"t","inbox": true }`: true,
	} {
		if got := connectauth.Read([]byte(auth), session.Headers{}).Inbox; got != want {
			t.Errorf("Read(%s).Inbox = %v, want %v", auth, got, want)
		}
	}
}
