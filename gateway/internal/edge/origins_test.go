package edge

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// origins reads the operator's list; requests of httptest come from 192.0.2.1, which is a trusted proxy.
func origins(t *testing.T, list ...string) Origins {
	t.Helper()
	o, err := ParseOrigins(list, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	if err != nil {
		t.Fatalf("ParseOrigins(%q) = %v", list, err)
	}
	return o
}

func TestOriginRules(t *testing.T) {
	const host = "chat.example.org"
	for _, tc := range []struct {
		list   []string
		origin string
		host   string
		want   bool
	}{
		{nil, "", host, true},
		{nil, "https://chat.example.org", host, true},
		{nil, "https://CHAT.example.org", host, true},
		{nil, "http://localhost:3000", "localhost:3000", true},
		{nil, "http://[::1]:3000", "[0:0::1]:3000", true},
		{nil, "http://localhost:5173", "localhost:3000", false},
		{nil, "http://localhost", "localhost:3000", false},
		{nil, "https://evil.example.org", host, false},
		{nil, "https://chat.example.org.evil.org", host, false},
		{nil, "https://chat.example.org:444", host, false},
		{nil, "app://chat.example.org", host, false},
		{nil, "null", host, false},
		{nil, "null", "", false},
		{nil, "null", "null", false},
		{nil, "file://", "", false},
		{nil, "https://", "", false},
		{nil, "https://a b", "a c", false},
		{nil, "https://chat.example.org/path", host, false},
		// Proxies name the port that browsers leave out, and the other way round.
		{nil, "https://chat.example.org", "chat.example.org:443", true},
		{nil, "http://chat.example.org", "chat.example.org:80", true},
		{nil, "https://chat.example.org:443", host, true},
		{nil, "https://chat.example.org", "chat.example.org:80", false},

		{[]string{"https://app.example.org/"}, "https://app.example.org", host, true},
		{[]string{"https://app.example.org"}, "http://app.example.org", host, false},
		{[]string{"https://app.example.org"}, "https://app.example.org:444", host, false},
		{[]string{"https://app.example.org"}, "https://app.example.org.evil.org", host, false},
		{[]string{"https://app.example.org"}, "https://sub.app.example.org", host, false},
		{[]string{"https://x.org", " https://app.example.org ", "", " "}, "https://app.example.org", host, true},
		{[]string{"HTTPS://App.Example.ORG:443"}, "https://app.example.org", host, true},
		{[]string{"http://app.example.org:80"}, "http://app.example.org", host, true},
		{[]string{"https://app.example.org"}, "https://app.example.org:443", host, true},
		{[]string{"https://app.example.org:80"}, "https://app.example.org", host, false},
		{[]string{"https://app.example.org"}, "https://chat.example.org", host, true}, // its own page
		{[]string{"capacitor://localhost"}, "capacitor://localhost", host, true},
		{[]string{"http://[0:0::1]:5173"}, "http://[::1]:5173", host, true},
		{[]string{"file://"}, "file://", host, true},
		{[]string{"https://app.example.org"}, "null", host, false},
		{[]string{"null"}, "null", host, true},
		{[]string{"NULL"}, "null", host, true},
		{[]string{"null"}, "https://null", host, false},
		{[]string{"*"}, "null", host, true},
		{[]string{"*"}, "https://any.org", host, true},

		{[]string{"https://*.example.com"}, "https://a.example.com", host, true},
		{[]string{"https://*.example.com"}, "https://a.b.example.com", host, true},
		{[]string{"https://*.EXAMPLE.com:443/"}, "https://a.example.com", host, true},
		{[]string{"https://*.example.com:8443"}, "https://a.example.com:8443", host, true},
		{[]string{"https://*.example.com"}, "https://example.com", host, false},
		{[]string{"https://*.example.com"}, "https://.example.com", host, false},
		{[]string{"https://*.example.com"}, "https://evilexample.com", host, false},
		{[]string{"https://*.example.com"}, "https://a.example.com.evil.org", host, false},
		{[]string{"https://*.example.com"}, "http://a.example.com", host, false},
		{[]string{"https://*.example.com"}, "https://a.example.com:8443", host, false},
		{[]string{"https://*.example.com"}, "https://evil.org/.example.com", host, false},
		{[]string{"https://*.example.com"}, "https://evil.org#.example.com", host, false},
		{[]string{"https://*.example.com"}, "https://evil.org?.example.com", host, false},
		{[]string{"https://*.example.com"}, `https://evil.org\.example.com`, host, false},
		{[]string{"https://*.example.com"}, "https://evil.org:1.example.com", host, false},
		{[]string{"https://*.example.com"}, "https://evil@a.example.com", host, false},
		{[]string{"https://*.example.com"}, "null", host, false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = tc.host
		if tc.origin != "" {
			r.Header.Set("Origin", tc.origin)
		}
		if got := origins(t, tc.list...).Allow(r); got != tc.want {
			t.Errorf("Origins(%q).Allow(%q at %q) = %v, want %v", tc.list, tc.origin, tc.host, got, tc.want)
		}
	}
}

func TestRepeatedOrigin(t *testing.T) {
	for _, tc := range []struct {
		values []string
		want   bool
	}{
		{[]string{"https://a.org", "https://a.org"}, true},
		{[]string{"https://a.org", "https://evil.org"}, false},
		{[]string{"https://evil.org", "https://a.org"}, false},
		{[]string{"https://a.org, https://evil.org"}, false},
		{[]string{""}, true},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Origin"] = tc.values
		if got := origins(t, "https://a.org").Allow(r); got != tc.want {
			t.Errorf("Allow(%q) = %v, want %v", tc.values, got, tc.want)
		}
	}
}

// TestForwardedHost: behind a trusted proxy the gateway's own origin is the one that the browser asked for.
func TestForwardedHost(t *testing.T) {
	for _, tc := range []struct {
		remote       string
		origin, host string
		headers      []string
		want         bool
	}{
		{"192.0.2.1:5", "https://chat.example.org", "gateway:3000", nil, false},
		{"192.0.2.1:5", "https://chat.example.org", "gateway:3000", []string{"X-Forwarded-Host: chat.example.org"}, true},
		{"[::ffff:192.0.2.1]:5", "https://chat.example.org", "gateway:3000", []string{"X-Forwarded-Host: chat.example.org"}, true},
		{"192.0.2.1:5", "https://chat.example.org", "gateway:3000", []string{"X-Forwarded-Host: Chat.example.org:443"}, true},
		{"192.0.2.1:5", "https://chat.example.org", "gateway:3000", []string{"X-Forwarded-Host: chat.example.org, inner"}, true},
		{"192.0.2.1:5", "https://chat.example.org", "gateway:3000", []string{"X-Forwarded-Host: other", "X-Forwarded-Host: chat.example.org"}, true},
		{"192.0.2.1:5", "https://chat.example.org:8443", "gateway:3000", []string{"X-Forwarded-Host: chat.example.org:8443"}, true},
		{"192.0.2.1:5", "https://chat.example.org:8443", "gateway:3000", []string{"X-Forwarded-Host: chat.example.org", "X-Forwarded-Port: 8443"}, true},
		{"192.0.2.1:5", "https://chat.example.org:8443", "chat.example.org", []string{"X-Forwarded-Port: 8443"}, true},
		{"192.0.2.1:5", "https://chat.example.org:8443", "gateway:3000", []string{"X-Forwarded-Host: chat.example.org"}, false},
		{"192.0.2.1:5", "https://evil.org", "gateway:3000", []string{"X-Forwarded-Host: chat.example.org"}, false},
		{"192.0.2.1:5", "https://chat.example.org", "chat.example.org", []string{"X-Forwarded-Host: inner"}, true},
		// Not a trusted proxy.
		{"198.51.100.1:5", "https://chat.example.org", "gateway:3000", []string{"X-Forwarded-Host: chat.example.org"}, false},
		{"198.51.100.1:5", "https://chat.example.org:8443", "chat.example.org", []string{"X-Forwarded-Port: 8443"}, false},
		{"garbage", "https://chat.example.org", "gateway:3000", []string{"X-Forwarded-Host: chat.example.org"}, false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr, r.Host = tc.remote, tc.host
		r.Header.Set("Origin", tc.origin)
		for _, h := range tc.headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Add(name, value)
		}
		if got := origins(t).Allow(r); got != tc.want {
			t.Errorf("Allow(%q from %s at %q with %q) = %v, want %v", tc.origin, tc.remote, tc.host, tc.headers, got, tc.want)
		}
	}
}

// TestWrongEntries: what no page can have as its origin is refused, with the reason.
func TestWrongEntries(t *testing.T) {
	for entry, reason := range map[string]string{
		"https://app.example.org/chat":       "path",
		"https://app.example.org/?x=1":       "query",
		"https://app.example.org?x":          "query",
		"https://app.example.org#a":          "query",
		"https://user@app.example.org":       "user",
		"app.example.org":                    "scheme",
		"localhost:5173":                     "scheme",
		"127.0.0.1:5173":                     "scheme",
		"*.example.org":                      "scheme",
		"wss://app.example.org":              "http or https",
		"https://":                           "host or port",
		"https://app.example.org:0":          "host or port",
		"https://app.example.org:99999":      "host or port",
		"https://app.example.org;https://b":  "",
		"https://a.org https://b.org":        "",
		"https://bücher.example":             "xn--",
		"https://*":                          "names before a domain",
		"https://*.":                         "names before a domain",
		"https://app.*.org":                  "names before a domain",
		"https://*app.example.org":           "names before a domain",
		"https://*.*.example.org":            "names before a domain",
		"https://app.example.org:*":          "",
		"http://[::1":                        "",
		"http://::1:3000":                    "",
		"\"https://app.example.org\"":        "",
		"https://app.example.org\x00":        "",
		"https://%61pp.example.org":          "",
		"https://app.example.org,,https:/b/": "",
	} {
		_, err := ParseOrigins([]string{"https://a.org", entry}, nil)
		if err == nil || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), "\n") {
			t.Errorf("ParseOrigins(%q) = %v, want an error about %q in one line", entry, err, reason)
		}
	}
}
