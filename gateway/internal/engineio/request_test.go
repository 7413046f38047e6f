package engineio

import (
	"errors"
	"testing"
)

func TestParseQuery(t *testing.T) {
	tests := []struct {
		in   string
		want Query
	}{
		{"EIO=4&transport=polling&t=abc", Query{EIO: "4", Transport: "polling"}},
		{"EIO=4&transport=websocket&sid=a-b_c", Query{EIO: "4", Transport: "websocket", SID: "a-b_c"}},
		{"transport=polling&b64=1", Query{Transport: "polling", Base64: true}},
		{"sid=a%2Fb+c&%45IO=4", Query{EIO: "4", SID: "a/b c"}},
		{"sid=%zz%4", Query{SID: "%zz%4"}},
		{"EIO&transport=&&=&x=1=2", Query{}},
		{"eio=4&Transport=polling", Query{}},
		{"", Query{}},
		{"EIO=4&EIO=4", Query{EIO: "4"}},
		{"EIO=4&transport=polling&t=1&transport=polling&EIO=4&b64=1&b64=1", Query{EIO: "4", Transport: "polling", Base64: true}},
		// The last one counts, as in official servers.
		{"EIO=3&EIO=4", Query{EIO: "4"}},
		{"EIO=4&EIO=3", Query{EIO: "3"}},
		{"transport=polling&%74ransport=websocket", Query{Transport: "websocket"}},
		{"sid=&sid=a", Query{SID: "a"}},
		{"sid=a&sid=", Query{}},
	}
	for _, tt := range tests {
		if got := ParseQuery(tt.in); got != tt.want {
			t.Errorf("ParseQuery(%q) = %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

func TestCheckRequest(t *testing.T) {
	polling := Query{EIO: "4", Transport: TransportPolling}
	webSocket := Query{EIO: "4", Transport: TransportWebSocket}
	with := func(q Query, change func(*Query)) Query { change(&q); return q }
	sid := func(q Query) Query { return with(q, func(q *Query) { q.SID = "s" }) }
	deny := func() *RequestError { return Forbidden("no entry") }
	allow := func() *RequestError { return nil }

	tests := []struct {
		name string
		r    Request
		want *RequestError
	}{
		{"polling handshake", Request{Method: "GET", Query: polling}, nil},
		{"websocket handshake", Request{Method: "GET", Query: webSocket, Upgrade: true, Allow: allow}, nil},
		{"poll", Request{Method: "GET", Query: sid(polling), SessionTransport: TransportPolling}, nil},
		{"post", Request{Method: "POST", Query: sid(polling), SessionTransport: TransportPolling}, nil},
		{"upgrade", Request{Method: "GET", Query: sid(webSocket), Upgrade: true, SessionTransport: TransportPolling}, nil},
		{"second upgrade", Request{Method: "GET", Query: sid(webSocket), Upgrade: true, SessionTransport: TransportWebSocket}, nil},
		{"EIO only at the handshake", Request{Method: "GET", Query: with(sid(polling), func(q *Query) { q.EIO = "" }), SessionTransport: TransportPolling}, nil},
		{"allowed with a sid", Request{Method: "GET", Query: sid(polling), SessionTransport: TransportPolling, Allow: allow}, nil},

		{"no transport", Request{Method: "GET", Query: Query{EIO: "4"}}, ErrUnknownTransport},
		{"bad transport", Request{Method: "GET", Query: Query{EIO: "4", Transport: "abc"}}, ErrUnknownTransport},
		{"transport before origin", Request{Method: "GET", Origin: "a\n"}, ErrUnknownTransport},
		{"origin before sid", Request{Method: "GET", Query: sid(polling), Origin: "a\x7f"}, ErrBadRequest},
		{"denied with a sid", Request{Method: "GET", Query: sid(polling), SessionTransport: TransportPolling, Allow: deny}, ErrForbidden},
		{"denied upgrade", Request{Method: "GET", Query: sid(webSocket), Upgrade: true, SessionTransport: TransportPolling, Allow: deny}, ErrForbidden},
		{"denied before unknown sid", Request{Method: "GET", Query: sid(polling), Allow: deny}, ErrForbidden},
		{"origin's characters before denied", Request{Method: "GET", Query: sid(polling), Origin: "a\x7f", Allow: deny}, ErrBadRequest},
		{"unknown sid", Request{Method: "GET", Query: sid(polling)}, ErrUnknownSession},
		{"unknown sid before method", Request{Method: "PUT", Query: sid(polling)}, ErrUnknownSession},
		{"poll after upgrade", Request{Method: "GET", Query: sid(polling), SessionTransport: TransportWebSocket}, ErrBadRequest},
		{"websocket without upgrade", Request{Method: "GET", Query: sid(webSocket), SessionTransport: TransportWebSocket}, ErrBadRequest},
		{"upgrade to polling", Request{Method: "GET", Query: sid(polling), Upgrade: true, SessionTransport: TransportPolling}, ErrBadRequest},
		{"put", Request{Method: "PUT", Query: sid(polling), SessionTransport: TransportPolling}, ErrBadMethod},
		{"handshake by POST", Request{Method: "POST", Query: polling}, ErrBadHandshakeMethod},
		{"handshake by PUT before version", Request{Method: "PUT", Query: Query{Transport: TransportPolling}}, ErrBadHandshakeMethod},
		{"websocket handshake without upgrade", Request{Method: "GET", Query: webSocket}, ErrBadRequest},
		{"denied before version", Request{Method: "GET", Query: Query{Transport: TransportPolling}, Allow: deny}, ErrForbidden},
		{"no version", Request{Method: "GET", Query: Query{Transport: TransportPolling}}, ErrUnsupportedVersion},
		{"bad version", Request{Method: "GET", Query: Query{EIO: "3", Transport: TransportPolling}}, ErrUnsupportedVersion},
	}
	for _, tt := range tests {
		got := CheckRequest(tt.r)
		if (got == nil) != (tt.want == nil) || got != nil && !errors.Is(got, tt.want) {
			t.Errorf("CheckRequest, %s = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestOriginCharacters(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "https://example.com": true, "a\tb": true, "\xe9": true, "é": true,
		"a\x00": false, "a\r\nb": false, "\x7f": false, "\x1f": false,
	} {
		if got := validHeader(s); got != want {
			t.Errorf("validHeader(%q) = %v, want %v", s, got, want)
		}
	}
}

func TestRequestError(t *testing.T) {
	tests := []struct {
		e      *RequestError
		status int
		body   string
	}{
		{ErrUnknownTransport, 400, `{"code":0,"message":"Transport unknown"}`},
		{ErrUnknownSession, 400, `{"code":1,"message":"Session ID unknown"}`},
		{ErrBadHandshakeMethod, 400, `{"code":2,"message":"Bad handshake method"}`},
		{ErrBadRequest, 400, `{"code":3,"message":"Bad request"}`},
		{ErrForbidden, 403, `{"code":4,"message":"Forbidden"}`},
		{ErrUnsupportedVersion, 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{ErrBadMethod, 500, `{"code":3,"message":"Bad request"}`},
		{Forbidden(""), 403, `{"code":4,"message":"Forbidden"}`},
		{Forbidden(`say "please"`), 403, `{"code":4,"message":"say \"please\""}`},
	}
	for _, tt := range tests {
		if got := string(tt.e.AppendJSON(nil)); got != tt.body || tt.e.Status != tt.status {
			t.Errorf("%v = %d %s, want %d %s", tt.e, tt.e.Status, got, tt.status, tt.body)
		}
	}
	if errors.Is(ErrBadRequest, ErrBadMethod) || !errors.Is(Forbidden("x"), ErrForbidden) {
		t.Error("errors.Is of refusals = mixed up, want code and status compared")
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add("EIO=4&transport=polling&sid=a%2Fb+c&b64=1")
	f.Add("%&%4&%%%=&&&")
	f.Fuzz(func(_ *testing.T, raw string) {
		_ = CheckRequest(Request{Method: "GET", Query: ParseQuery(raw), Origin: raw}) // must not panic
	})
}
