package edge

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"testing"
)

// TestClientFiles: pages that load the client from the server do so here too.
func TestClientFiles(t *testing.T) {
	front, _ := newEdge(t, nil)
	for name, kind := range map[string]string{
		"socket.io.js": "application/javascript; charset=utf-8", "socket.io.js.map": "application/json; charset=utf-8",
		"socket.io.min.js": "application/javascript; charset=utf-8", "socket.io.min.js.map": "application/json; charset=utf-8",
		"socket.io.esm.min.js": "application/javascript; charset=utf-8", "socket.io.esm.min.js.map": "application/json; charset=utf-8",
	} {
		want, err := fs.ReadFile(clientFiles, "client/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, ".map") && !bytes.Contains(want, []byte(clientVersion)) {
			t.Errorf("%s does not say that it is version %s", name, clientVersion)
		}
		url := front.URL + "/socket.io/" + name
		res, body := ask(t, http.MethodGet, url+"?v=1", "", "Accept-Encoding: identity")
		h := res.Header
		if res.StatusCode != http.StatusOK || body != string(want) || h.Get("Content-Type") != kind || h.Get("Etag") != `"`+clientVersion+`"` ||
			h.Get("Cache-Control") != "public, max-age=0" || h.Get("Content-Encoding") != "" {
			t.Errorf("GET %s = %d, %d bytes, headers %v, want the file as %s", url, res.StatusCode, len(body), h, kind)
		}
		res, body = ask(t, http.MethodGet, url, "", "Accept-Encoding: br, gzip;q=0.8")
		unpacked, err := gzip.NewReader(strings.NewReader(body))
		if err != nil || res.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("GET %s with gzip = %v, headers %v, want it compressed", url, err, res.Header)
		}
		if got, err := io.ReadAll(unpacked); err != nil || !bytes.Equal(got, want) {
			t.Errorf("GET %s with gzip = %d bytes, %v, want the file", url, len(got), err)
		}
		for _, tag := range []string{`"` + clientVersion + `"`, `W/"` + clientVersion + `"`} {
			if res, _ := ask(t, http.MethodGet, url, "", "If-None-Match: "+tag); res.StatusCode != http.StatusNotModified {
				t.Errorf("GET %s if not %s = %d, want 304", url, tag, res.StatusCode)
			}
		}
		if res, body := ask(t, http.MethodHead, url, ""); res.StatusCode != http.StatusOK || body != "" {
			t.Errorf("HEAD %s = %d %q, want 200 and nothing", url, res.StatusCode, body)
		}
	}
	for _, name := range []string{"socket.io.msgpack.min.js", "nothing.js"} { // as any other request to the path
		if res, body := ask(t, http.MethodGet, front.URL+"/socket.io/"+name, ""); res.StatusCode != http.StatusBadRequest {
			t.Errorf("GET %s = %d %s, want 400", name, res.StatusCode, body)
		}
	}
}

// TestRefusedCompression: what a client cannot read it does not get.
func TestRefusedCompression(t *testing.T) {
	for value, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "deflate, gzip": true, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=0.5": true, "br": false, "gzippy": false,
	} {
		r, _ := http.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Header.Set("Accept-Encoding", value)
		if got := acceptsGzip(r); got != want {
			t.Errorf("acceptsGzip(%q) = %v, want %v", value, got, want)
		}
	}
}

func TestPath(t *testing.T) {
	for in, want := range map[string]string{
		"": "/socket.io/", "/socket.io/": "/socket.io/", "/socket.io": "/socket.io/", "/api/socket.io": "/api/socket.io/", "/a/b-c_d~.1": "/a/b-c_d~.1/",
	} {
		if got, err := ParsePath(in); got != want || err != nil {
			t.Errorf("ParsePath(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"/", "//", "socket.io", "/socket.io?x", "/a b", "/a//b", "/a/../b", "/..", "/.", "/{x}", "/ä", "/a%20b", "https://h/socket.io",
		"/api", "/api/", "/api/v1", "/api/v1/rooms", "/.well-known", "/.well-known/x/",
	} {
		if got, err := ParsePath(in); err == nil {
			t.Errorf("ParsePath(%q) = %q, want an error", in, got)
		}
	}
}

// TestOtherPath: everything of Socket.IO is at the path that the operator chose, and nothing at the usual one.
func TestOtherPath(t *testing.T) {
	front, _ := newEdge(t, func(c *Config) { c.Path = "/api/realtime/" })
	for path, want := range map[string]int{
		"/api/realtime/?EIO=4&transport=polling": 200, "/api/realtime/socket.io.min.js": 200, "/api/realtime?EIO=4&transport=polling": 404,
		"/socket.io/?EIO=4&transport=polling": 404, "/socket.io/socket.io.min.js": 404, "/api/openapi.json": 200, "/api/v1/rooms/gone/messages": 404,
	} {
		if res, body := ask(t, http.MethodGet, front.URL+path, ""); res.StatusCode != want {
			t.Errorf("GET %s = %d %s, want %d", path, res.StatusCode, body, want)
		}
	}
	if _, page := ask(t, http.MethodGet, front.URL+"/", ""); !strings.Contains(page, "{&#34;path&#34;:&#34;api/realtime/&#34;}") {
		t.Errorf("the page does not say where Socket.IO is: %s", page)
	}
}

// TestManyCookies: a browser sends all cookies of the site along, and official servers take 16 KiB.
func TestManyCookies(t *testing.T) {
	front, _ := newEdge(t, nil)
	cookies := "Cookie: a=" + strings.Repeat("x", 8<<10) + "; b=" + strings.Repeat("y", 8<<10)
	for _, path := range []string{"/socket.io/?EIO=4&transport=polling", "/api/openapi.json", "/"} {
		if res, body := ask(t, http.MethodGet, front.URL+path, "", cookies); res.StatusCode != http.StatusOK {
			t.Errorf("GET %s with 16 KiB of cookies = %d %s, want 200", path, res.StatusCode, body)
		}
	}
}

func TestFirstSubprotocol(t *testing.T) {
	for offered, want := range map[string]string{
		"": "", "a": "a", "a, b": "a", " a\t,b": "a", "v1.chat~x": "v1.chat~x", "a b, c": "c", ",": "", "\"a\"": "", "ä": "",
	} {
		r := &http.Request{Header: http.Header{"Sec-Websocket-Protocol": {offered}}}
		if got := subprotocol(r); got != want {
			t.Errorf("subprotocol(%q) = %q, want %q", offered, got, want)
		}
	}
}
