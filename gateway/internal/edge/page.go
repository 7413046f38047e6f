package edge

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"
)

//go:embed page
var page embed.FS

// demoPage serves the page to try a gateway with. Its addresses are relative, so that it works below a path of a proxy too.
func demoPage(socketPath string) (http.Handler, error) {
	static, err := fs.Sub(page, "page")
	if err != nil {
		return nil, fmt.Errorf("open the page: %w", err)
	}
	index, err := template.ParseFS(static, "index.html")
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	var html bytes.Buffer
	if err := index.Execute(&html, strings.TrimPrefix(socketPath, "/")); err != nil {
		return nil, fmt.Errorf("fill in the page: %w", err)
	}
	files := http.FileServerFS(static)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			files.ServeHTTP(w, r) // it sends /index.html here
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(html.Bytes()))
	}), nil
}
