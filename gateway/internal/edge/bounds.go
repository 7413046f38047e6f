package edge

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/gateway/internal/rest"
	"github.com/starling-chat/starling/proto/fault"
)

// What a client may hold on to by HTTP. A WebSocket has bounds of its own (transport).
const (
	maxRequests = 1024 // REST requests at once
	retryAfter  = time.Second
	// spareSockets may be open beside the sessions' own: health checks, pages, REST. They come out of descriptorReserve.
	spareSockets = 100
	// maxBodyBytes is what bodies that are not served yet hold together, without the first freeBody bytes of each: small requests
	// get through whatever large ones do.
	maxBodyBytes = 64 << 20
	freeBody     = 16 << 10
	// bodyAhead is how much of a body is read before anything is taken for its request.
	bodyAhead = rest.MaxBody
)

// bodyFirst reads the body of a request before next is asked, so that no slot is taken for one that is still coming. What is longer
// than bodyAhead next refuses.
func bodyFirst(next http.Handler) http.Handler {
	bodies := &bodies{most: maxBodyBytes}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			next.ServeHTTP(w, r)
			return
		}
		ahead, ended, release, err := bodies.read(r.Body, r.ContentLength, bodyAhead)
		defer release()
		switch {
		case errors.Is(err, errBodies):
			rest.WriteFault(w, http.StatusServiceUnavailable, fault.Retry(fault.Unavailable, "Too many large requests at once", retryAfter))
			return
		case tooSlow(err):
			rest.WriteFault(w, http.StatusRequestTimeout, fault.New(fault.Timeout, "The body did not come in time"))
			return
		case err != nil:
			rest.WriteFault(w, http.StatusBadRequest, fault.New(fault.Invalid, "The body cannot be read"))
			return
		}
		whole := io.Reader(bytes.NewReader(ahead))
		if !ended {
			whole = io.MultiReader(whole, r.Body)
		}
		r.Body = readCloser{whole, r.Body}
		next.ServeHTTP(w, r)
	})
}

// readCloser is a body that was read ahead.
type readCloser struct {
	io.Reader
	io.Closer
}

// bodies reads the bodies of requests into memory, as far as there is some.
type bodies struct {
	most int64
	held atomic.Int64
}

var errBodies = errors.New("too many large bodies at once")

// read reads a body to its end, or to the limit: then rest is what is left. The memory counts until release is called.
func (b *bodies) read(body io.Reader, size int64, limit int) (whole []byte, ended bool, release func(), err error) {
	var taken int64
	release = func() { b.held.Add(-taken) }
	buf := make([]byte, 0, min(max(size+1, bytes.MinRead), freeBody, int64(limit)+1)) // a byte more finds the end without growing
	for {
		if len(buf) == cap(buf) {
			grown := min(2*cap(buf), limit+1)
			if size > 0 { // as announced, if it is true
				grown = min(grown, max(int(size)+1, cap(buf)+1))
			}
			more := int64(max(grown, freeBody) - max(cap(buf), freeBody))
			if b.held.Add(more); b.held.Load() > b.most {
				taken += more
				return nil, false, release, errBodies
			}
			taken += more
			buf = append(make([]byte, 0, grown), buf...)
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return buf, false, release, nil
		case errors.Is(err, io.EOF):
			return buf, true, release, nil
		case err != nil:
			return buf, false, release, err
		}
	}
}
