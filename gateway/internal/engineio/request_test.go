package engineio

import (
	"errors"
	"testing"
)

func TestParseQuery(t *testing.T) {
	tests := []struct {
		in   string
		want Query
		err  error
	}{
		{"EIO=4&transport=polling&t=abc", Query{EIO: "4", Transport: "polling"}, nil},
		{"EIO=4&transport=websocket&sid=a-b_c", Query{EIO: "4", Transport: "websocket", SID: "a-b_c"}, nil},
		{"transport=polling&b64=1", Query{Transport: "polling", Base64: true}, nil},
		{"sid=a%2Fb+c&%45IO=4", Query{EIO: "4", SID: "a/b c"}, nil},
		{"sid=%zz%4", Query{SID: "%zz%4"}, nil},
		{"EIO&transport=&&=&x=1=2", Query{}, nil},
		{"eio=4&Transport=polling", Query{}, nil},
		{"", Query{}, nil},
		{"EIO=4&EIO=4", Query{}, ErrBadRequest},
		{"transport=polling&%74ransport=websocket", Query{}, ErrBadRequest},
		{"sid=&sid=a", Query{}, ErrBadRequest},
	}
	for _, tt := range tests {
		got, err := ParseQuery(tt.in)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("ParseQuery(%q) = %+v, %v, want %+v, %v", tt.in, got, err, tt.want, tt.err)
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
		{"Allow only at the handshake", Request{Method: "GET", Query: sid(polling), SessionTransport: TransportPolling, Allow: deny}, nil},

		{"no transport", Request{Method: "GET", Query: Query{EIO: "4"}}, ErrUnknownTransport},
		{"bad transport", Request{Method: "GET", Query: Query{EIO: "4", Transport: "abc"}}, ErrUnknownTransport},
		{"transport before origin", Request{Method: "GET", Origin: "a\n"}, ErrUnknownTransport},
		{"origin before sid", Request{Method: "GET", Query: sid(polling), Origin: "a\x7f"}, ErrBadRequest},
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
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := ParseQuery(raw)
		if err != nil && (q != Query{} || !errors.Is(err, ErrBadRequest)) {
			t.Fatalf("ParseQuery(%q) = %+v, %v, want nothing with an error", raw, q, err)
		}
		_ = CheckRequest(Request{Method: "GET", Query: q, Origin: raw}) // must not panic
	})
}
