package edge

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// page holds what the gateway serves at /: the web app below page/app where web/ was built before this program, each file beside
// compressed copies of itself (.br, .gz), and else a page that says so.
//
//go:embed page
var page embed.FS

// Page says what is served at /.
type Page struct {
	Off       bool          // nothing is
	Demo      []DemoAccount // accounts that the page offers; never in a deployed gateway
	Developer http.Handler  // serves /dev/ to the page's developer drawer; nil in a deployed gateway
}

// DemoAccount is one that the page signs in with.
type DemoAccount struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Name     string `json:"name"`
}

// pagePlace is the place in index.html where the gateway says about itself what the app has to know.
const pagePlace = `<meta name="starling" content="{}">`

// webPage serves the app. Its addresses are relative, so that it works below a path of a proxy too.
func webPage(socketPath string, cfg Page) (http.Handler, error) {
	static, err := fs.Sub(page, "page/app")
	if err != nil {
		return nil, fmt.Errorf("open the page: %w", err)
	}
	if _, err := fs.Stat(static, "index.html"); err != nil {
		if static, err = fs.Sub(page, "page/fallback"); err != nil {
			return nil, fmt.Errorf("open the page: %w", err)
		}
	}
	return pageOf(static, socketPath, cfg)
}

// pageOf serves the page that is in static.
func pageOf(static fs.FS, socketPath string, cfg Page) (http.Handler, error) {
	index, err := filledIn(static, socketPath, cfg)
	if err != nil {
		return nil, err
	}
	files := pageFiles{static: static, index: index, indexPacked: gzipped(index)}
	mux := http.NewServeMux()
	mux.Handle("/", readOnly(files))
	if cfg.Developer != nil {
		mux.Handle("/dev/", ownPages(http.StripPrefix("/dev", cfg.Developer)))
	}
	return secured(mux, len(cfg.Demo) > 0), nil
}

// filledIn is index.html with what the app has to know of this gateway.
func filledIn(static fs.FS, socketPath string, cfg Page) ([]byte, error) {
	index, err := fs.ReadFile(static, "index.html")
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	if !bytes.Contains(index, []byte(pagePlace)) {
		return nil, fmt.Errorf("the page lacks %s", pagePlace)
	}
	about, err := json.Marshal(struct {
		Path      string        `json:"path"`
		Developer bool          `json:"dev,omitempty"`
		Demo      []DemoAccount `json:"demo,omitempty"`
	}{strings.TrimPrefix(socketPath, "/"), cfg.Developer != nil, cfg.Demo})
	if err != nil {
		return nil, fmt.Errorf("fill in the page: %w", err)
	}
	filled := `<meta name="starling" content="` + html.EscapeString(string(about)) + `">`
	index = bytes.Replace(index, []byte(pagePlace), []byte(filled), 1)
	client := html.EscapeString(strings.TrimPrefix(socketPath, "/"))
	return bytes.ReplaceAll(index, []byte(`href="socket.io/socket.io.esm`), []byte(`href="`+client+`socket.io.esm`)), nil
}

// pageFiles serves the files of the page. Those below assets/ have their content's hash in their names, and are kept for good.
type pageFiles struct {
	static             fs.FS
	index, indexPacked []byte
}

func (p pageFiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	h := w.Header()
	if name == "" || name == "index.html" {
		h.Set("Cache-Control", "no-cache")
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Add("Vary", "Accept-Encoding")
		content := p.index
		if acceptsGzip(r) {
			h.Set("Content-Encoding", "gzip")
			content = p.indexPacked
		}
		serveTagged(w, r, name, content)
		return
	}
	kind, known := pageKind(name)
	content, err := fs.ReadFile(p.static, name)
	if !known || err != nil || !fs.ValidPath(name) {
		http.NotFound(w, r)
		return
	}
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(name, "assets/") {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Content-Type", kind)
	h.Add("Vary", "Accept-Encoding")
	for _, coding := range []struct{ name, ending string }{{"br", ".br"}, {"gzip", ".gz"}} {
		packed, err := fs.ReadFile(p.static, name+coding.ending)
		if err == nil && accepts(r, coding.name) {
			h.Set("Content-Encoding", coding.name)
			content = packed
			break
		}
	}
	serveTagged(w, r, name, content)
}

// pageKind is the type of a file that a page consists of. Others, such as compressed copies, are not served under their own names.
func pageKind(name string) (kind string, known bool) {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8", true
	case ".css":
		return "text/css; charset=utf-8", true
	case ".txt":
		return "text/plain; charset=utf-8", true
	case ".svg":
		return "image/svg+xml", true
	case ".png":
		return "image/png", true
	case ".woff2":
		return "font/woff2", true
	case ".webmanifest":
		return "application/manifest+json", true
	default:
		return "", false
	}
}

func serveTagged(w http.ResponseWriter, r *http.Request, name string, content []byte) {
	sum := sha256.Sum256(content)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}

// ownPages refuses requests that pages of other origins make: what is below /dev/ changes something, and asks for no login.
func ownPages(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
			http.Error(w, "Only for the gateway's own page", http.StatusForbidden)
			return
		}
		if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, "Only JSON", http.StatusUnsupportedMediaType) // a form of another page cannot send that
			return
		}
		next.ServeHTTP(w, r)
	})
}

// secured adds the headers of a page that loads nothing from elsewhere and runs nothing but its own files. With pair the page may hold
// itself in frames: it shows two demo accounts side by side. A deployed gateway's page is in no frame at all.
func secured(next http.Handler, pair bool) http.Handler {
	frames := "frame-ancestors 'none'"
	if pair {
		frames = "frame-src 'self'; frame-ancestors 'self'"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "+
			"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "+frames)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
