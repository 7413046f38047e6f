package edge

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/starling-chat/starling/platform/obs"
)

const (
	// corsHeaders are allowed where a browser does not say which headers the page wants to send.
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, X-API-Key"
	// refusalInterval is the time between two lines of the log about refused origins.
	refusalInterval = 10 * time.Second
	// maxLogged bounds what a client can put into a line of the log, in bytes.
	maxLogged = 200
)

// CORS adds the CORS headers for allowed origins, on answers and on errors, and answers preflights. refused is told of each request
// from a page of another origin, whose answer the browser keeps from the page; nil tells nobody.
func (o Origins) CORS(next http.Handler, refused func(*http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		page := r.Header.Get("Origin")
		allowed := o.Allow(r)
		if page != "" && allowed {
			h.Set("Access-Control-Allow-Origin", page)
			h.Set("Access-Control-Allow-Credentials", "true")
		}
		if !allowed && refused != nil {
			refused(r)
		}
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			preflight(h, r, allowed)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if page != "" && allowed {
			h.Set("Access-Control-Expose-Headers", "Retry-After")
		}
		next.ServeHTTP(w, r)
	})
}

// preflight says what a page may send. A page of an allowed origin may send every header: those of tracing libraries are not ours to
// know, and what is not known here is ignored.
func preflight(h http.Header, r *http.Request, allowed bool) {
	h.Add("Vary", "Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE")
	h.Set("Access-Control-Max-Age", "600")
	asked := r.Header.Values("Access-Control-Request-Headers")
	if !allowed || len(asked) == 0 {
		asked = []string{corsHeaders}
	}
	h["Access-Control-Allow-Headers"] = asked
}

// refusalLog logs requests of pages of foreign origins, now and then, with what an operator has to compare.
func refusalLog(log *slog.Logger, o Origins) func(*http.Request) {
	sampler := obs.NewSampler(refusalInterval)
	return func(r *http.Request) {
		more, ok := sampler.Take(time.Now())
		if !ok {
			return
		}
		setting := "FRONTEND_URL"
		attrs := []slog.Attr{
			slog.String("origin", cut(r.Header.Get("Origin"))), slog.String("host", cut(r.Host)), slog.String("path", cut(r.URL.Path)),
		}
		if host := r.Header.Get("X-Forwarded-Host"); host != "" {
			attrs = append(attrs, slog.String("forwarded_host", cut(host)))
			if !o.behindProxy(r) {
				setting = "FRONTEND_URL or TRUSTED_PROXIES"
			}
		}
		attrs = append(attrs, slog.String("remote", r.RemoteAddr), slog.String("setting", setting), slog.Int("more", more))
		log.LogAttrs(r.Context(), slog.LevelWarn, "a page of another origin is refused", attrs...)
	}
}

func cut(s string) string { return s[:min(len(s), maxLogged)] }
