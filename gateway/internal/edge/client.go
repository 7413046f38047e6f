package edge

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// clientFiles are the builds of socket.io-client for browsers: dist of the npm package, MIT licence, unchanged. The one with the
// MessagePack parser is left out, because the gateway does not speak it.
//
//go:embed client
var clientFiles embed.FS

// clientVersion is the version of clientFiles, and their ETag.
const clientVersion = "4.8.4"

// mountClient serves the client below the Engine.IO path, at the names and with the headers of official servers.
func mountClient(mux *http.ServeMux, socketPath string) error {
	files, err := fs.ReadDir(clientFiles, "client")
	if err != nil {
		return fmt.Errorf("list the client's files: %w", err)
	}
	for _, file := range files {
		mux.Handle(socketPath+file.Name(), readOnly(clientFile(file.Name())))
	}
	return nil
}

// clientFile serves one file, compressed for whoever can read that. It is read and compressed at the first request: most gateways
// are never asked for it.
func clientFile(name string) http.Handler {
	kind := "application/javascript; charset=utf-8"
	if strings.HasSuffix(name, ".map") {
		kind = "application/json; charset=utf-8"
	}
	plain := sync.OnceValue(func() []byte {
		content, _ := fs.ReadFile(clientFiles, path.Join("client", name)) // it is in the binary
		return content
	})
	packed := sync.OnceValue(func() []byte { return gzipped(plain()) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "public, max-age=0")
		h.Set("Content-Type", kind)
		h.Set("ETag", `"`+clientVersion+`"`)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Add("Vary", "Accept-Encoding")
		content := plain
		if acceptsGzip(r) {
			h.Set("Content-Encoding", "gzip")
			content = packed
		}
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content()))
	})
}

func gzipped(content []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // the level is a good one
	_, _ = w.Write(content)                                 // memory takes everything
	_ = w.Close()
	return out.Bytes()
}

func acceptsGzip(r *http.Request) bool { return accepts(r, "gzip") }

// accepts tells whether a client reads a content coding. One that refuses it by q=0 is rare, and gets the file as it is.
func accepts(r *http.Request, coding string) bool {
	for _, line := range r.Header.Values("Accept-Encoding") {
		for offered := range strings.SplitSeq(line, ",") {
			name, quality, _ := strings.Cut(offered, ";")
			if strings.EqualFold(strings.TrimSpace(name), coding) && strings.Trim(quality, " .0") != "q=" {
				return true
			}
		}
	}
	return false
}
