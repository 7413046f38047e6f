package edge

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/starling-chat/starling/gateway/internal/transport"
)

const (
	// bodyPatience is the patience with a body (transport.ArrivalDeadline): its bytes move the deadline on.
	bodyPatience = 10 * time.Second
	// answerPatience is for the client to begin to take an answer, or a part of it. What the kernel takes on its behalf it takes in
	// large pieces, now and then, so parts are large.
	answerPatience = 10 * time.Second
	answerPart     = 32 << 10 // bytes
)

// exchange is one request and its answer. It gives every handler the same deadlines: for the body, as long as it is not whole, and for
// each part of the answer. A request without a body has none, so that long polls wait as long as they like.
//
// What is still to come of a body is not waited for once the request is answered. The connection then ends with the answer, because
// what follows on it could not be told from the rest of the body.
type exchange struct {
	http.ResponseWriter // net/http's own
	control             *http.ResponseController
	answering           bool // the answer has begun

	// Of a request with a body.
	source    io.ReadCloser // nil: there is none
	arrival   transport.ArrivalDeadline
	whole     bool
	continues bool      // the client waits to be told that its body is wanted, which reading does
	conn      *openConn // is one that the gateway waits for while the body comes; nil in tests
}

// exchanges wraps everything that the server serves.
func exchanges(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{ResponseWriter: w, control: http.NewResponseController(w)}
		if r.ContentLength != 0 {
			x.expectBody(r)
			defer x.leaveBody()
		}
		next.ServeHTTP(x, r)
	})
}

// Unwrap lets http.ResponseController find the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) expectBody(r *http.Request) {
	x.source, x.arrival = r.Body, transport.NewArrivalDeadline(bodyPatience, time.Now())
	x.continues = r.Header.Get("Expect") != ""
	x.conn = connOf(r)
	r.Body = (*incoming)(x)
	_ = x.control.SetReadDeadline(x.arrival.Deadline()) // a test's recorder has no deadlines, here and below
	x.conn.waits(true)
}

// leaveBody ends the reading of a body that is not whole.
func (x *exchange) leaveBody() {
	x.begin() // if the handler has not
	x.conn.waits(false)
	if x.whole {
		return
	}
	_ = x.control.SetReadDeadline(time.Unix(1, 0)) // net/http would read on
	// A body over its limit makes net/http end the connection gently: a reset would overtake the answer on its way to the client.
	_, _ = http.MaxBytesReader(x.ResponseWriter, io.NopCloser(strings.NewReader("more")), 0).Read(make([]byte, 1))
}

// incoming is an exchange as its request's body.
type incoming exchange

// Read implements io.Reader.
func (b *incoming) Read(p []byte) (int, error) {
	n, err := b.source.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.whole = true
		b.conn.waits(false)
		_ = b.control.SetReadDeadline(time.Time{})
	case n > 0:
		b.arrival.Moved(n, time.Now())
		_ = b.control.SetReadDeadline(b.arrival.Deadline())
	}
	return n, err
}

// Close implements io.Closer.
func (b *incoming) Close() error { return b.source.Close() }

// WriteHeader implements http.ResponseWriter.
func (x *exchange) WriteHeader(status int) {
	x.begin()
	x.ResponseWriter.WriteHeader(status)
}

// begin is called before the answer's first byte. A body that came in one piece with its request is taken in now, so that the
// connection can stay; for what has not come by now nobody waits.
func (x *exchange) begin() {
	if x.answering {
		return
	}
	x.answering = true
	_ = x.control.SetWriteDeadline(time.Now().Add(answerPatience))
	if x.source == nil || x.whole {
		return
	}
	if !x.continues {
		_ = x.control.SetReadDeadline(time.Unix(1, 0))
		_, err := io.Copy(io.Discard, x.source) // not by way of incoming, which would move the deadline on
		x.whole = err == nil
	}
	if !x.whole {
		x.Header().Set("Connection", "close")
		return
	}
	_ = x.control.SetReadDeadline(time.Time{})
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(p []byte) (written int, err error) {
	x.begin()
	for {
		part := p[written:min(len(p), written+answerPart)]
		_ = x.control.SetWriteDeadline(time.Now().Add(answerPatience + transport.TimeFor(len(part))))
		n, err := x.ResponseWriter.Write(part)
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// tooSlow tells whether a body did not come in time.
func tooSlow(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
