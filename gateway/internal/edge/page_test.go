package edge

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

// appFiles stand for a built web app.
func appFiles() fstest.MapFS {
	file := func(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content)} }
	return fstest.MapFS{
		"index.html": file("<html>" + pagePlace + "</html>"), "assets/index-abc.js": file("plain"), "assets/index-abc.js.br": file("br"), "assets/index-abc.js.gz": file("gz"),
		"icon.svg": file("<svg/>"), "stamp.txt": file("1"), "secret.map": file("no"),
	}
}

func get(t *testing.T, page http.Handler, target string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	page.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestPageFiles: files come compressed for whoever can read that, those with a hash in their names are kept for good, and nothing else is served.
func TestPageFiles(t *testing.T) {
	page, err := pageOf(appFiles(), "/socket.io/", Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ accept, coding, want string }{
		{"", "", "plain"}, {"gzip", "gzip", "gz"}, {"gzip, deflate, br", "br", "br"}, {"br;q=0, gzip", "gzip", "gz"},
	} {
		res := get(t, page, "/assets/index-abc.js", "Accept-Encoding", c.accept)
		if got := body(t, res); got != c.want || res.Header.Get("Content-Encoding") != c.coding || res.Header.Get("Vary") != "Accept-Encoding" ||
			res.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || res.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
			t.Errorf("with Accept-Encoding %q = %q, headers %v, want %q", c.accept, got, res.Header, c.want)
		}
	}
	res := get(t, page, "/icon.svg")
	tag := res.Header.Get("Etag")
	if res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "no-cache" || tag == "" {
		t.Errorf("GET /icon.svg = %d, headers %v", res.StatusCode, res.Header)
	}
	if res := get(t, page, "/icon.svg", "If-None-Match", tag); res.StatusCode != http.StatusNotModified {
		t.Errorf("GET /icon.svg if not %s = %d, want 304", tag, res.StatusCode)
	}
	for _, name := range []string{"/assets/index-abc.js.br", "/secret.map", "/assets", "/assets/", "/gone.js", "/dev/restart-gateway", "/r/lobby"} {
		if res := get(t, page, name); res.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s = %d, want 404", name, res.StatusCode)
		}
	}
}

// TestPageIndex: the page knows where Socket.IO is, and nobody puts anything else into it.
func TestPageIndex(t *testing.T) {
	demo := []DemoAccount{{Username: "alice", Password: `a"><script>`, Name: "Alice"}}
	page, err := pageOf(appFiles(), "/api/realtime/", Page{Demo: demo, Developer: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	res := get(t, page, "/", "Accept-Encoding", "gzip")
	unpacked, err := gzip.NewReader(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"&#34;path&#34;:&#34;api/realtime/&#34;", "&#34;dev&#34;:true", "&#34;username&#34;:&#34;alice&#34;"} {
		if !strings.Contains(string(content), want) {
			t.Errorf("the page lacks %s: %s", want, content)
		}
	}
	if strings.Contains(string(content), "<script>") || res.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("the page is %s, headers %v", content, res.Header)
	}
	policy := res.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-src 'self'", "frame-ancestors 'self'"} {
		if !strings.Contains(policy, want) || strings.Contains(policy, "unsafe") {
			t.Errorf("the policy is %q, want %s and nothing unsafe", policy, want)
		}
	}
	deployed, err := pageOf(appFiles(), "/socket.io/", Page{})
	if err != nil {
		t.Fatal(err)
	}
	res = get(t, deployed, "/")
	if got := body(t, res); strings.Contains(got, "dev") || strings.Contains(got, "demo") {
		t.Errorf("a deployed gateway's page knows of %s", got)
	}
	if policy := res.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "frame-src") {
		t.Errorf("the policy of a deployed gateway's page is %q: it is in no frame, and has none", policy)
	}
}

// TestPage: a gateway has a page, built app or not, with all that it loads; by a setting it has none.
func TestPage(t *testing.T) {
	front, _ := newEdge(t, nil)
	res, page := ask(t, http.MethodGet, front.URL+"/", "")
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(page, "socket.io/") {
		t.Errorf("GET / = %d, %v: %s", res.StatusCode, res.Header, page)
	}
	if res, _ := ask(t, http.MethodGet, front.URL+"/icon.svg", ""); res.StatusCode != http.StatusOK {
		t.Errorf("GET /icon.svg = %d, want 200", res.StatusCode)
	}
	if res, _ := ask(t, http.MethodPost, front.URL+"/", ""); res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST / = %d, want 405", res.StatusCode)
	}
	off, _ := newEdge(t, func(c *Config) { c.Page.Off = true })
	for path, want := range map[string]int{"/": 404, "/icon.svg": 404, "/healthz": 200, "/socket.io/socket.io.min.js": 200, "/api/openapi.json": 200} {
		if res, _ := ask(t, http.MethodGet, off.URL+path, ""); res.StatusCode != want {
			t.Errorf("GET %s without a page = %d, want %d", path, res.StatusCode, want)
		}
	}
}

// TestDeveloper: what changes something without a login is for the gateway's own page only.
func TestDeveloper(t *testing.T) {
	asked := 0
	page, err := pageOf(appFiles(), "/socket.io/", Page{Developer: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ })})
	if err != nil {
		t.Fatal(err)
	}
	post := func(headers ...string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/dev/restart-gateway", strings.NewReader("{}"))
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		return w.Code
	}
	if code := post("Content-Type", "application/json", "Sec-Fetch-Site", "same-origin"); code != http.StatusOK || asked != 1 {
		t.Errorf("the page's own request = %d, asked %d times", code, asked)
	}
	for _, headers := range [][]string{
		{"Content-Type", "application/json", "Sec-Fetch-Site", "cross-site"},
		{"Content-Type", "application/json", "Sec-Fetch-Site", "same-site"},
		{"Content-Type", "text/plain"},
		{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin"},
	} {
		if code := post(headers...); code < 400 || asked != 1 {
			t.Errorf("with %v = %d, asked %d times, want a refusal", headers, code, asked)
		}
	}
}
