package conformance

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// connected is the content of a CONNECT reply.
type connected struct {
	SID string `json:"sid"`
	PID string `json:"pid"`
}

// wantConnect checks a CONNECT reply.
func wantConnect(t *testing.T, packet, namespace string) connected {
	t.Helper()
	prefix := "40"
	if namespace != "/" {
		prefix += namespace + ","
	}
	raw, ok := strings.CutPrefix(packet, prefix)
	var c connected
	if !ok || json.Unmarshal([]byte(raw), &c) != nil || c.SID == "" {
		t.Fatalf("CONNECT reply = %q, want %s{\"sid\":…}", packet, prefix)
	}
	return c
}

// want checks the next packets.
func want(t *testing.T, l link, packets ...string) {
	t.Helper()
	for _, p := range packets {
		if got := l.next(t); got != p {
			t.Fatalf("packet = %q, want %q", got, p)
		}
	}
}

// enter connects to the main namespace of the protocol suite.
func enter(t *testing.T, l link) {
	t.Helper()
	l.send(t, "40")
	wantConnect(t, l.next(t), "/")
	want(t, l, `42["auth",{}]`)
}

func TestConnect(t *testing.T) {
	tests := []struct{ send, namespace, auth string }{
		{`40`, "/", `42["auth",{}]`},
		{`40/,`, "/", `42["auth",{}]`},
		{`40{"token":"123"}`, "/", `42["auth",{"token":"123"}]`},
		{`40/custom,`, "/custom", `42/custom,["auth",{}]`},
		{`40/custom`, "/custom", `42/custom,["auth",{}]`},
		{`40/custom,{"token":"abc"}`, "/custom", `42/custom,["auth",{"token":"abc"}]`},
	}
	onLinks(t, protocolSuite, func(t *testing.T, open func() link) {
		for _, test := range tests {
			l := open()
			l.send(t, test.send)
			reply := l.next(t)
			if c := wantConnect(t, reply, test.namespace); c.PID != "" {
				t.Errorf("CONNECT reply to %q = %q, want only the sid: recovery is off", test.send, reply)
			}
			want(t, l, test.auth)
		}
	})
}

func TestPublicIDIsNotTheSecretOne(t *testing.T) {
	e := endpoint{serverFor(t, protocolSuite), "/socket.io/"}
	s := dial(t, e, "")
	sid := wantOpen(t, s.next(t)).SID
	s.send("40")
	main := wantConnect(t, s.next(t), "/").SID
	s.next(t) // auth
	s.send("40/custom,")
	custom := wantConnect(t, s.next(t), "/custom").SID
	if main == sid || custom == sid || main == custom {
		t.Errorf("sid = %q, socket ids = %q and %q, want three different ones", sid, main, custom)
	}
}

func TestUnknownNamespace(t *testing.T) {
	onLinks(t, protocolSuite, func(t *testing.T, open func() link) {
		l := open()
		l.send(t, "40/random")
		want(t, l, `44/random,{"message":"Invalid namespace"}`)
		enter(t, l) // the session goes on
	})
}

func TestNoConnect(t *testing.T) {
	onLinks(t, silentSuite, func(t *testing.T, open func() link) {
		begun := time.Now()
		l := open()
		l.waitClosed(t)
		if took := time.Since(begun); took < connectTimeout-100*time.Millisecond {
			t.Errorf("session without CONNECT closed after %v, want about %v", took, connectTimeout)
		}
	})
}

func TestDisconnect(t *testing.T) {
	onLinks(t, protocolSuite, func(t *testing.T, open func() link) {
		l := open()
		enter(t, l)
		l.send(t, "41", "40/custom,") // no reply to the first
		wantConnect(t, l.next(t), "/custom")
		want(t, l, `42/custom,["auth",{}]`)
		enter(t, l) // again
	})
}

func TestDisconnectFromCustom(t *testing.T) {
	onLinks(t, protocolSuite, func(t *testing.T, open func() link) {
		l := open()
		enter(t, l)
		l.send(t, "40/custom")
		wantConnect(t, l.next(t), "/custom")
		want(t, l, `42/custom,["auth",{}]`)
		l.send(t, "41/custom", `42["message","message to main namespace"]`)
		want(t, l, `42["message-back","message to main namespace"]`)
	})
}

func TestEvents(t *testing.T) {
	const two = `{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}`
	tests := map[string]struct{ send, want []string }{
		"plain":      {[]string{`42["message",1,"2",{"3":[true]}]`}, []string{`42["message-back",1,"2",{"3":[true]}]`}},
		"no args":    {[]string{`42["message"]`}, []string{`42["message-back"]`}},
		"odd text":   {[]string{`42["message","\u2028 \" € 𝄞"]`}, []string{`42["message-back","\u2028 \" € 𝄞"]`}},
		"ack":        {[]string{`42456["message-with-ack",1,"2",{"3":[false]}]`}, []string{`43456[1,"2",{"3":[false]}]`}},
		"ack 0":      {[]string{`420["message-with-ack"]`}, []string{`430[]`}},
		"binary":     {[]string{`452-["message",` + two + `]`, "bAQID", "bBAUG"}, []string{`452-["message-back",` + two + `]`, "bAQID", "bBAUG"}},
		"empty blob": {[]string{`451-["message",{"_placeholder":true,"num":0}]`, "b"}, []string{`451-["message-back",{"_placeholder":true,"num":0}]`, "b"}},
		"binary ack": {
			[]string{`452-789["message-with-ack",` + two + `]`, "bAQID", "bBAUG"},
			[]string{`462-789[` + two + `]`, "bAQID", "bBAUG"},
		},
		"no answer": {[]string{`42["other",1]`, `42[7]`, `43999[]`, `42["message",2]`}, []string{`42["message-back",2]`}},
	}
	onLinks(t, protocolSuite, func(t *testing.T, open func() link) {
		l := open()
		enter(t, l)
		for name, test := range tests {
			l.send(t, test.send...)
			for _, p := range test.want {
				if got := l.next(t); got != p {
					t.Fatalf("%s: answer to %q = %q, want %q", name, test.send, got, p)
				}
			}
		}
	})
}

func TestBrokenPackets(t *testing.T) {
	tests := map[string][]string{
		"unknown type":                {"4abc"},
		"type 7":                      {"47"},
		"empty":                       {"4"},
		"payload no array":            {`42{}`},
		"payload missing":             {`42`},
		"payload empty":               {`42[]`},
		"name an object":              {`42[{}]`},
		"name null":                   {`42[null]`},
		"bad ack id":                  {`42abc["message-with-ack",1,"2",{"3":[false]}]`},
		"broken JSON":                 {`42["message"`},
		"more after JSON":             {`42["message"]x`},
		"CONNECT with an array":       {`40/custom,[]`},
		"DISCONNECT with content":     {`41{}`},
		"ack no array":                {`431{}`},
		"CONNECT twice":               {"40"},
		"event before CONNECT":        {`42/custom,["message"]`},
		"reserved name":               {`42["disconnect"]`},
		"reserved name, connect":      {`42["connect"]`},
		"reserved name, error":        {`42["connect_error"]`},
		"reserved name, listener":     {`42["newListener"]`},
		"stray binary":                {"bAQID"},
		"text inside binary":          {`451-["message",{"_placeholder":true,"num":0}]`, `42["message"]`},
		"placeholder out of range":    {`451-["message",{"_placeholder":true,"num":1}]`, "bAQID"},
		"placeholder below 0":         {`451-["message",{"_placeholder":true,"num":-1}]`, "bAQID"},
		"eleven attachments":          {`4511-["message"]`},
		"attachment count missing":    {`45["message",{"_placeholder":true,"num":0}]`, "bAQID"},
		"attachment count not number": {`45x-["message"]`},
	}
	onLinks(t, protocolSuite, func(t *testing.T, open func() link) {
		for name, packets := range tests {
			t.Run(name, func(t *testing.T) {
				l := open()
				enter(t, l)
				l.send(t, packets...)
				l.waitClosed(t) // not by the heartbeat's timeout, which is later
			})
		}
	})
}

func TestBrokenFirstPacket(t *testing.T) {
	onLinks(t, protocolSuite, func(t *testing.T, open func() link) {
		for _, p := range []string{"4abc", `42["message"]`, "bAQID"} {
			l := open()
			l.send(t, p)
			l.waitClosed(t)
		}
	})
}

func TestTenAttachments(t *testing.T) {
	onLinks(t, protocolSuite, func(t *testing.T, open func() link) {
		l := open()
		enter(t, l)
		var args, blobs []string
		for i := range 10 {
			args = append(args, `{"_placeholder":true,"num":`+string(rune('0'+i))+`}`)
			blobs = append(blobs, "bAQID")
		}
		l.send(t, append([]string{`4510-["message",` + strings.Join(args, ",") + `]`}, blobs...)...)
		want(t, l, append([]string{`4510-["message-back",` + strings.Join(args, ",") + `]`}, blobs...)...)
	})
}

func TestManyEventsInOrder(t *testing.T) {
	onLinks(t, protocolSuite, func(t *testing.T, open func() link) {
		l := open()
		enter(t, l)
		const n = 200
		for i := range n {
			raw, _ := json.Marshal([]any{"message", i})
			l.send(t, "42"+string(raw))
		}
		for i := range n {
			raw, _ := json.Marshal([]any{"message-back", i})
			want(t, l, "42"+string(raw))
		}
	})
}
