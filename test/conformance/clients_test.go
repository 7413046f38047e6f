package conformance

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// event takes apart an event packet of the main namespace: name, arguments, and the recovery offset after them.
func event(t *testing.T, packet string) (name string, args []any, offset string) {
	t.Helper()
	i := strings.IndexByte(packet, '[')
	if !strings.HasPrefix(packet, "42") && !strings.HasPrefix(packet, "45") || i < 0 {
		t.Fatalf("packet = %q, want an event", packet)
	}
	var list []any
	if err := json.Unmarshal([]byte(packet[i:]), &list); err != nil || len(list) == 0 {
		t.Fatalf("event %q: %v", packet, err)
	}
	name, _ = list[0].(string)
	if args = list[1:]; len(args) > 0 {
		if offset, _ = args[len(args)-1].(string); offset != "" {
			args = args[:len(args)-1]
		}
	}
	return name, args, offset
}

// enterSupport connects to the main namespace of the client suite's server.
func enterSupport(t *testing.T, l link, auth string) connected {
	t.Helper()
	l.send(t, "40"+auth)
	c := wantConnect(t, l.next(t), "/")
	if c.PID == "" || c.PID == c.SID {
		t.Errorf("CONNECT reply = %+v, want a pid of its own: recovery is on", c)
	}
	return c
}

func TestSupportServerEvents(t *testing.T) {
	onLinks(t, socketIOSuite, func(t *testing.T, open func() link) {
		l := open()
		id := enterSupport(t, l, "").SID
		for send, want := range map[string]string{
			`421["echo",{"a":[1]}]`: `431[{"a":[1]}]`, `422["getId"]`: `432["` + id + `"]`,
			`42["hi"]`: "hi", `42["false"]`: "false", `42["getDate"]`: "takeDate", `42["getDateObj"]`: "takeDateObj",
		} {
			l.send(t, send)
			got := l.next(t)
			if strings.HasPrefix(want, "43") {
				if got != want {
					t.Errorf("answer to %s = %s, want %s", send, got, want)
				}
				continue
			}
			if name, _, offset := event(t, got); name != want || offset == "" {
				t.Errorf("answer to %s = %s, want event %s with an offset", send, got, want)
			}
		}
	})
}

func TestSupportServerAck(t *testing.T) {
	onLinks(t, socketIOSuite, func(t *testing.T, open func() link) {
		l := open()
		enterSupport(t, l, "")
		l.send(t, `42["ack"]`)
		asked := l.next(t)
		id, ok := strings.CutSuffix(asked, `["ack"]`)
		if !ok {
			t.Fatalf("packet = %q, want event ack with an ack id and no offset", asked)
		}
		l.send(t, "43"+strings.TrimPrefix(id, "42")+`[5,{"test":true}]`)
		if name, _, _ := event(t, l.next(t)); name != "got it" {
			t.Errorf("event = %q, want got it", name)
		}
	})
}

func TestSupportServerBinary(t *testing.T) {
	const blob = `{"_placeholder":true,"num":0}`
	tests := map[string]struct {
		send []string
		want string
	}{
		"doge":     {[]string{`42["doge"]`}, "doge"},
		"getbin":   {[]string{`42["getbin"]`}, "takebin"},
		"buffa":    {[]string{`451-["buffa",` + blob + `]`, "bAQID"}, "buffack"},
		"jsonbuff": {[]string{`451-["jsonbuff",{"hello":"lol","message":` + blob + `,"goodbye":"gotcha"}]`, "bAQID"}, "jsonbuff-ack"},
		"abuff":    {[]string{`451-["abuff1",` + blob + `]`, "bAQID", `42["abuff2","please arrive second"]`}, "abuff2-ack"},
		"blobs":    {[]string{`451-["blob1",` + blob + `]`, "bAQID", `42["blob2","second"]`, `451-["blob3",` + blob + `]`, "bAQID"}, "blob3-ack"},
	}
	onLinks(t, socketIOSuite, func(t *testing.T, open func() link) {
		l := open()
		enterSupport(t, l, "")
		for name, test := range tests {
			l.send(t, test.send...)
			packet := l.next(t)
			if got, _, _ := event(t, packet); got != test.want {
				t.Errorf("%s: event = %q, want %q", name, got, test.want)
			}
			if strings.HasPrefix(packet, "451-") {
				want(t, l, "bYXNkZmFzZGY=")
			}
		}
	})
}

func TestSupportServerNamespaces(t *testing.T) {
	onLinks(t, socketIOSuite, func(t *testing.T, open func() link) {
		l := open()
		for _, namespace := range []string{"/foo", "/timeout_socket", "/valid", "/asd"} {
			l.send(t, "40"+namespace+",")
			wantConnect(t, l.next(t), namespace)
		}
		l.send(t, "40/no,", "40/other,")
		want(t, l, `44/no,{"message":"Auth failed (custom namespace)"}`, `44/other,{"message":"Invalid namespace"}`)
		l.send(t, `40/abc,{"a":"b"}`)
		wantConnect(t, l.next(t), "/abc")
		if got := l.next(t); !strings.HasPrefix(got, `42/abc,["handshake",{`) || !strings.Contains(got, `"auth":{"a":"b"}`) ||
			!strings.Contains(got, `"EIO":"4"`) {
			t.Errorf("event = %q, want handshake with the query and the auth", got)
		}
	})
}

func TestRecovery(t *testing.T) {
	onLinks(t, socketIOSuite, func(t *testing.T, open func() link) {
		l := open()
		before := enterSupport(t, l, "")
		l.send(t, `42["hi"]`)
		_, _, offset := event(t, l.next(t))
		l.send(t, "1")
		l.waitClosed(t)
		auth, _ := json.Marshal(map[string]string{"pid": before.PID, "offset": offset})

		l = open()
		if after := enterSupport(t, l, string(auth)); after != before {
			t.Errorf("CONNECT reply after the drop = %+v, want %+v", after, before)
		}
		l.send(t, `42["hi"]`)
		if name, _, again := event(t, l.next(t)); name != "hi" || again == "" || again == offset {
			t.Errorf("event = %q with offset %q, want hi with an offset other than %q", name, again, offset)
		}
	})
}

// Missed events go out before the CONNECT reply: the client holds them back until it knows that it recovered.
func TestRecoveryOfMissedEvents(t *testing.T) {
	onLinks(t, socketIOSuite, func(t *testing.T, open func() link) {
		l := open()
		before := enterSupport(t, l, "")
		l.send(t, `42["getUtf8"]`)
		_, _, offset := event(t, l.next(t))
		for range 4 {
			l.next(t)
		}
		l.send(t, "1")
		l.waitClosed(t)
		auth, _ := json.Marshal(map[string]string{"pid": before.PID, "offset": offset})

		l = open()
		l.send(t, "40"+string(auth))
		for _, want := range []string{"Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"} {
			if name, args, _ := event(t, l.next(t)); name != "takeUtf8" || len(args) != 1 || args[0] != want {
				t.Errorf("missed event = %q %q, want takeUtf8 %q", name, args, want)
			}
		}
		if after := wantConnect(t, l.next(t), "/"); after != before {
			t.Errorf("CONNECT reply after the drop = %+v, want %+v", after, before)
		}
	})
}

func TestNoRecovery(t *testing.T) {
	onLinks(t, socketIOSuite, func(t *testing.T, open func() link) {
		for name, auth := range map[string]string{
			"unknown pid": `{"pid":"abc","offset":"abc"}`, "odd types": `{"pid":1,"offset":{}}`, "no offset": `{"pid":"abc"}`,
		} {
			if c := enterSupport(t, open(), auth); c.PID == "abc" {
				t.Errorf("%s: CONNECT reply = %+v, want a new session", name, c)
			}
		}
	})
}

// bare is the endpoint of engine.io-client's server.
func bare(t *testing.T) endpoint {
	t.Helper()
	return endpoint{serverFor(t, engineIOSuite), "/engine.io/"}
}

func TestEngineServer(t *testing.T) {
	e := bare(t)
	s := dial(t, e, "")
	if o := wantOpen(t, s.next(t)); o.MaxPayload != 100 {
		t.Errorf("open packet = %+v, want maxPayload 100", o)
	}
	if got := s.next(t); got != "4hi" {
		t.Errorf("first message = %q, want 4hi", got)
	}
	for send, want := range map[string]string{
		"4cash €": "4cash €", "4give binary": "bAAECAwQ=", "4give utf8": "4пойду спать всем спокойной ночи",
	} {
		s.send(send)
		if got := s.next(t); got != want {
			t.Errorf("answer to %q = %q, want %q", send, got, want)
		}
	}
}

func TestEngineServerPolling(t *testing.T) {
	e := bare(t)
	sid := openPolling(t, e)
	wantAnswer(t, "GET", get(t, e.polling(sid)), http.StatusOK, "4hi")
	for send, back := range map[string]string{"4a": "4a", "bAQID": "bAQID", "4give binary": "bAAECAwQ="} {
		wantAnswer(t, "POST", post(t, e.polling(sid), send), http.StatusOK, "ok")
		wantAnswer(t, "GET", get(t, e.polling(sid)), http.StatusOK, back)
	}
	wantAnswer(t, "oversize POST", post(t, e.polling(sid), strings.Repeat("4", 101)), http.StatusRequestEntityTooLarge, "")
}

func TestEngineServerOversize(t *testing.T) {
	s := dial(t, bare(t), "")
	s.send("4" + strings.Repeat("a", 101))
	if code := s.waitClosed(t); code != 1009 {
		t.Errorf("close code of an oversize message = %d, want 1009", code)
	}
}

func TestEngineServerHeaders(t *testing.T) {
	e := bare(t)
	a := get(t, e.polling(""))
	if got := len(a.header.Values("Set-Cookie")); got != 4 {
		t.Errorf("handshake sets %d cookies, want 4", got)
	}
	sid := wantOpen(t, a.body, "websocket").SID
	a = get(t, e.polling(sid))
	if got := len(a.header.Values("Set-Cookie")); got != 0 {
		t.Errorf("later GET sets %d cookies, want none", got)
	}
	if _, err := request(t.Context(), "POST", e.polling(sid), "4sendHeaders", http.Header{"Cookie": {"1=1; 2=2"}}); err != nil {
		t.Fatal(err)
	}
	var headers map[string]string
	a = get(t, e.polling(sid))
	if err := json.Unmarshal([]byte(strings.TrimPrefix(a.body, "4")), &headers); err != nil || headers["cookie"] != "1=1; 2=2" {
		t.Errorf("headers = %q, want cookie 1=1; 2=2 among them", a.body)
	}
}

func TestEngineServerDeny(t *testing.T) {
	e := bare(t)
	wantAnswer(t, "denied handshake", get(t, e.polling("")+"&deny=1"), http.StatusForbidden, `{"code":4,"message":"Forbidden"}`)
	host, target := e.webSocket("")
	if s, a := upgrade(t, host, target+"&deny=1"); s != nil || a.status/100 != 4 {
		t.Errorf("denied upgrade = %d, want a refusal", a.status)
	}
}
