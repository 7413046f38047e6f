package edge

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/proto/fault/faulttest"
)

func TestIPLimiter(t *testing.T) {
	l := newIPLimiter(10, 2)
	now := time.Unix(1000, 0)
	take := func(ip string, after time.Duration, want bool, wantWait time.Duration) {
		t.Helper()
		wait, ok := l.allow(netip.MustParseAddr(ip), now.Add(after))
		if ok != want || wait.Round(time.Millisecond) != wantWait {
			t.Errorf("take(%s, %v) = %v, %v, want %v, %v", ip, after, wait, ok, wantWait, want)
		}
	}
	take("1.1.1.1", 0, true, 0)
	take("1.1.1.1", 0, true, 0)
	take("1.1.1.1", 0, false, 100*time.Millisecond)
	take("1.1.1.2", 0, true, 0)
	take("1.1.1.1", 100*time.Millisecond, true, 0)
	take("1.1.1.1", 100*time.Millisecond, false, 100*time.Millisecond)
	for i := range maxBuckets + 10 {
		l.allow(netip.AddrFrom4([4]byte{50, byte(i >> 16), byte(i >> 8), byte(i)}), now.Add(time.Millisecond))
	}
	if len(l.buckets) > maxBuckets {
		t.Errorf("%d buckets are kept, want %d at most", len(l.buckets), maxBuckets)
	}
	for range 5 {
		if _, ok := newIPLimiter(0, 1).allow(netip.MustParseAddr("1.1.1.1"), now); !ok {
			t.Error("take without a rate = false, want true")
		}
	}
}

// TestLimitKey: every address has limits but loopback and what the operator names. One IPv6 site is one address, and those that cannot
// be told are one together.
func TestLimitKey(t *testing.T) {
	a := &addresses{exempt: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}}
	for addr, want := range map[string]string{
		"1.1.1.1": "1.1.1.1", "10.2.2.3": "10.2.2.3", "192.168.1.1": "192.168.1.1", "172.18.0.1": "172.18.0.1", "100.64.0.1": "100.64.0.1",
		"169.254.1.1": "169.254.1.1", "2001:db8::1": "2001:db8::", "2001:db8::ffff:2": "2001:db8::", "fd00:2::1": "fd00:2::", "fe80::1": "fe80::",
		"127.0.0.1": "", "127.9.9.9": "", "::1": "", "10.1.2.3": "", "fd00:1::7": "",
	} {
		key, limited := a.limitKey(netip.MustParseAddr(addr))
		if limited != (want != "") || limited && key.String() != want {
			t.Errorf("limitKey(%s) = %s, %v, want %q", addr, key, limited, want)
		}
	}
	if key, limited := a.limitKey(netip.Addr{}); !limited || key.IsValid() {
		t.Errorf("limitKey of no address = %s, %v, want the key of all that cannot be told", key, limited)
	}
}

func TestClientIP(t *testing.T) {
	var log faulttest.Log
	a := &addresses{trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}, log: log.Logger()}
	for _, tc := range []struct {
		remote string
		xff    []string
		want   string
	}{
		{"1.2.3.4:5", nil, "1.2.3.4"},
		{"1.2.3.4:5", []string{"9.9.9.9"}, "1.2.3.4"}, // not a trusted proxy
		{"10.0.0.1:5", nil, "10.0.0.1"},
		{"10.0.0.1:5", []string{"9.9.9.9"}, "9.9.9.9"},
		{"[::ffff:10.0.0.1]:5", []string{"9.9.9.9"}, "9.9.9.9"},
		{"10.0.0.1:5", []string{"6.6.6.6, 9.9.9.9"}, "9.9.9.9"},
		{"10.0.0.1:5", []string{"6.6.6.6", "9.9.9.9, 10.0.0.2"}, "9.9.9.9"},
		{"10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"10.0.0.1:5", []string{"6.6.6.6, 9.9.9.9:4444"}, "9.9.9.9"},
		{"10.0.0.1:5", []string{"6.6.6.6, [2001:db8::1]:443"}, "2001:db8::1"},
		{"10.0.0.1:5", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"10.0.0.1:5", []string{"::ffff:9.9.9.9"}, "9.9.9.9"},
		{"10.0.0.1:5", []string{"[::ffff:9.9.9.9]:80"}, "9.9.9.9"},
		{"10.0.0.1:5", []string{"9.9.9.9:1, 10.0.0.2:3"}, "9.9.9.9"},
		{"10.0.0.1:5", []string{"fe80::1%eth0"}, "fe80::1"},
		{"10.0.0.1:5", []string{" \t9.9.9.9 ,, "}, "9.9.9.9"},
		{"10.0.0.1:5", []string{"9.9.9.9", ""}, "9.9.9.9"},
		{"10.0.0.1:5", []string{"9.9.9.9, garbage"}, "invalid IP"},
		{"10.0.0.1:5", []string{"9.9.9.9, unknown, 10.0.0.2"}, "invalid IP"},
		{"10.0.0.1:5", []string{"9.9.9.9:x"}, "invalid IP"},
		{"10.0.0.1:5", []string{"9.9.9.9:99999"}, "invalid IP"},
		{"10.0.0.1:5", []string{"[9.9.9.9]"}, "invalid IP"},
		{"10.0.0.1:5", []string{"[2001:db8::1"}, "invalid IP"},
		{"[fd00::1]:5", []string{"2001:db8::1"}, "2001:db8::1"},
		{"garbage", []string{"9.9.9.9"}, "invalid IP"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = tc.remote
		for _, x := range tc.xff {
			r.Header.Add("X-Forwarded-For", x)
		}
		if got := a.client(r).String(); got != tc.want {
			t.Errorf("clientIP(%s, %q) = %s, want %s", tc.remote, tc.xff, got, tc.want)
		}
	}
}

// TestProxyTroubleIsLogged: what hides the clients' addresses is logged, once.
func TestProxyTroubleIsLogged(t *testing.T) {
	var text strings.Builder
	a := &addresses{trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, log: slog.New(slog.NewTextHandler(&text, nil))}
	ask := func(remote, xff string) {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", http.NoBody)
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", xff)
		a.client(r)
	}
	ask("10.0.0.1:5", "9.9.9.9")
	if text.String() != "" {
		t.Errorf("log = %s, want nothing of a proxy that does well", &text)
	}
	for range 3 {
		ask("10.0.0.1:5", "unknown")
		ask("192.168.0.9:5", "9.9.9.9")
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "value=unknown") || !strings.Contains(lines[1], "TRUSTED_PROXIES") || !strings.Contains(lines[1], "192.168.0.9") {
		t.Errorf("log = %q, want one line about the hop and one about the proxy that is not trusted", lines)
	}
}

// TestUnreadableHopIsLimited: clients whose addresses cannot be read share one limit; before, they had the proxy's, or none.
func TestUnreadableHopIsLimited(t *testing.T) {
	front, _ := newEdge(t, func(c *Config) {
		c.IPRate, c.IPBurst = 0.001, 1
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	open := func(hop string) int {
		res, _ := ask(t, http.MethodGet, front.URL+"/socket.io/?EIO=4&transport=polling", "", "X-Forwarded-For: "+hop)
		return res.StatusCode
	}
	for _, tc := range []struct {
		hop  string
		want int
	}{
		{"203.0.113.7:4444", 200},
		{"203.0.113.7:4445", 503},
		{"[2001:db8::1]:443", 200},
		{"[2001:db8::2]:443", 503},
		{"192.168.7.7", 200},
		{"192.168.7.7", 503},
		{"unknown", 200},
		{"_hidden", 503},
		{"", 200},
		{"127.0.0.1", 200},
	} {
		if got := open(tc.hop); got != tc.want {
			t.Errorf("handshake of %q = %d, want %d", tc.hop, got, tc.want)
		}
	}
}

// TestAddressBehindProxy: the requests of one address are bounded behind a proxy too, without harm to the proxy's other clients.
func TestAddressBehindProxy(t *testing.T) {
	front, _ := newEdge(t, func(c *Config) {
		c.MaxPerAddress = 1
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	page := func(ip string) int {
		res, _ := ask(t, http.MethodGet, front.URL+"/healthz", "", "X-Forwarded-For: "+ip)
		return res.StatusCode
	}
	_, opened := ask(t, http.MethodGet, front.URL+"/socket.io/?EIO=4&transport=polling", "", "X-Forwarded-For: 9.9.9.9")
	_, rest, _ := strings.Cut(opened, `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	body, feed := io.Pipe()
	defer func() { _ = feed.Close() }()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.URL+"/socket.io/?EIO=4&transport=polling&sid="+sid, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", "9.9.9.9")
	arriving := make(chan struct{})
	r = r.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Wait100Continue: func() {}, Got100Continue: func() { close(arriving) }}))
	r.Header.Set("Expect", "100-continue") // which the gateway answers when it begins to read the body
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if res, err := http.DefaultClient.Do(r); err == nil {
			_ = res.Body.Close()
		}
	}()
	go func() { _, _ = feed.Write([]byte("4")) }()
	select {
	case <-arriving: // the request is under way, and was not refused because another one was
	case <-time.After(30 * time.Second):
		t.Fatal("the gateway does not ask for the body")
	}
	for end := time.Now().Add(30 * time.Second); page("9.9.9.9") != http.StatusServiceUnavailable; {
		if time.Now().After(end) {
			t.Fatal("a second request of the address is served, want 503")
		}
	}
	if got := page("9.9.9.8"); got != http.StatusOK {
		t.Errorf("another client of the proxy gets %d, want 200", got)
	}
	_ = feed.Close()
	<-answered
	if got := page("9.9.9.9"); got != http.StatusOK {
		t.Errorf("the address gets %d when its request is answered, want 200", got)
	}
}
