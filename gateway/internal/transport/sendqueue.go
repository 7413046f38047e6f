package transport

import (
	"sync"
	"sync/atomic"

	"github.com/starling-chat/starling/gateway/internal/engineio"
)

// sendQueue decides what one conn takes, and counts it. The bytes themselves are kept beside it, in the form that the
// transport needs. A sendQueue has no lock and no goroutine of its own: its conn guards it.
//
//		  written │ ahead │ large │ behind
//		──────────┼───────┴───────┴────────►
//		          └──────── waiting
//
//	 1. What the kernel did not take stays within the bound, the large message aside. A message that would pass it finds the
//	    peer slow.
//	 2. A message that alone is over the bound, such as a long history, is large: one at a time is taken beside the bound.
//	 3. A volatile message is dropped where another one would find the peer slow, and already when more than half the bound
//	    waits. When nothing waits every volatile message is taken.
//	 4. An answer to what the client asked for is taken beside the bound, as a large message is: whoever asks much at once and
//	    takes it in slowly is not slow with what others send. Its size is the callers' to bound: they begin the client's next
//	    request when most of the answers before it are gone.
//	 5. As long as the kernel has not been asked, a burst over the bound is no sign of a slow peer, and is taken. Its size is
//	    the callers' to bound: they flush as soon as that is due. What the kernel then leaves counts by the first rule.
type sendQueue struct {
	bound   int  // bytes
	waiting int  // bytes that are queued and not written
	large   int  // how many of them belong to the large message and to answers, as if these stood together
	ahead   int  // how many of them go out before the first of these
	stuck   bool // what waits does not go out at present: the kernel took no more, or nobody asks for it
}

// verdict is what becomes of a message.
type verdict uint8

const (
	taken   verdict = iota
	dropped         // a volatile message that does not fit
	slow            // the queue would pass its bound
)

// backlog is what counts against the bound.
func (q *sendQueue) backlog() int { return q.waiting - q.large }

// fits tells whether size more bytes stay within the bound.
func (q *sendQueue) fits(size int) bool { return q.backlog()+size <= q.bound }

// admit decides about a message of size bytes. One that is taken has to be appended next.
func (q *sendQueue) admit(size int, volatile, answer bool) verdict {
	switch {
	case answer:
		if q.large == 0 {
			q.ahead = q.waiting
		}
		q.large += size
	case volatile && (q.backlog() > q.bound/2 || q.waiting > 0 && !q.fits(size)):
		return dropped
	case q.fits(size):
	case size > q.bound && (q.large == 0 || !q.stuck):
		q.large, q.ahead = size, q.waiting
	case !q.stuck:
	default:
		return slow
	}
	return taken
}

// appended counts n bytes that wait from now on.
func (q *sendQueue) appended(n int) { q.waiting += n }

// wrote counts n bytes that went out, from the front.
func (q *sendQueue) wrote(n int) {
	q.waiting -= n
	passed := min(n, q.ahead)
	q.ahead -= passed
	q.large = max(0, q.large-(n-passed))
}

// over tells that more waits than the bound allows, after the kernel was asked.
func (q *sendQueue) over() bool { return q.stuck && q.backlog() > q.bound }

// reset forgets what waits.
func (q *sendQueue) reset() { q.waiting, q.large, q.ahead = 0, 0, 0 }

// frameQueue is the sendQueue of a conn that writes a stream of frames. It borrows the queue with its buffer, so that a conn with
// nothing to send has a nil pointer.
type frameQueue struct{ *sendBuffer }

// sendBuffer is what waits in a frameQueue.
type sendBuffer struct {
	sendQueue
	shared  *sendBuffers
	bytes   []byte
	sent    int // bytes at the front that are written
	counted int // how many of the waiting bytes are in shared's count
}

// begin borrows a buffer for a queue that has none.
func (q *frameQueue) begin(shared *sendBuffers) {
	if q.sendBuffer == nil {
		q.sendBuffer = shared.get()
	}
}

// empty tells whether nothing waits.
func (q *frameQueue) empty() bool { return q.sendBuffer == nil }

// size is how many bytes wait.
func (q *frameQueue) size() int {
	if q.empty() {
		return 0
	}
	return q.waiting
}

// wrote forgets n bytes at the front. What is left is stuck, and counts.
func (q *frameQueue) wrote(n int) {
	q.sendQueue.wrote(n)
	q.count()
	if q.sent += n; q.sent == len(q.bytes) {
		q.giveBack()
	}
}

// drop forgets everything.
func (q *frameQueue) drop() {
	if q.empty() {
		return
	}
	q.reset()
	q.count()
	q.giveBack()
}

func (q *frameQueue) giveBack() {
	q.shared.put(q.sendBuffer)
	q.sendBuffer = nil
}

// append queues bytes that were admitted, or that have to go out in any case.
func (b *sendBuffer) append(p []byte) {
	b.bytes = append(b.bytes, p...)
	b.added(len(p))
}

// appendSuffixed queues a message with its suffix.
func (b *sendBuffer) appendSuffixed(m *Message, suffix []byte) {
	before := len(b.bytes)
	b.bytes = m.AppendSuffixed(b.bytes, suffix)
	b.added(len(b.bytes) - before)
}

// added counts n bytes that were appended. Those that the next flush most likely takes along stay out of the shared count: all
// conns change that one, and every event to every socket would.
func (b *sendBuffer) added(n int) {
	b.appended(n)
	if b.stuck {
		b.count()
	}
}

// count brings the shared count up to what waits.
func (b *sendBuffer) count() {
	if b.counted != b.waiting {
		b.shared.waiting.Add(int64(b.waiting - b.counted))
		b.counted = b.waiting
	}
}

// next gives the bytes that go out next. They are valid until the queue changes.
func (b *sendBuffer) next() []byte { return b.bytes[b.sent:] }

// compact moves what waits to the front of the buffer once half of it is written, so that the buffer of a long queue does not
// grow with what passes through.
func (b *sendBuffer) compact() {
	if b.sent > 0 && b.sent >= len(b.bytes)/2 {
		b.bytes = append(b.bytes[:0], b.bytes[b.sent:]...)
		b.sent = 0
	}
}

// packetQueue is the sendQueue of a conn that hands packets out when it is asked for them.
type packetQueue struct {
	sendQueue
	packets []polled
}

// polled is one queued message, with its own text where a suffix was given.
type polled struct {
	text        []byte
	attachments [][]byte
	answer      bool
}

// size is what the message takes of a polling body.
func (p polled) size() int {
	n := len(p.text) + 1
	for _, a := range p.attachments {
		n += len(a)*4/3 + 6
	}
	return n
}

// append queues a message that was admitted, or that has to go out in any case.
func (q *packetQueue) append(p polled) {
	q.packets = append(q.packets, p)
	q.appended(p.size())
}

// empty tells whether nothing waits.
func (q *packetQueue) empty() bool { return len(q.packets) == 0 }

// popBody makes a body of the first messages: as many as most bytes hold, and one in any case.
func (q *packetQueue) popBody(most int) []byte {
	var body []byte
	n := 0
	for n < len(q.packets) && (n == 0 || len(body)+q.packets[n].size() <= most) {
		p := q.packets[n]
		body = engineio.AppendPolled(body, p.text, false)
		for _, a := range p.attachments {
			body = engineio.AppendPolled(body, a, true)
		}
		q.wrote(p.size())
		n++
	}
	if q.packets = q.packets[n:]; len(q.packets) == 0 {
		q.packets = nil
	}
	return body
}

// drop forgets everything.
func (q *packetQueue) drop() {
	q.packets = nil
	q.reset()
}

// sendBuffers are the buffers of all send queues of a server, and the count of what waits in them.
type sendBuffers struct {
	bound   int // bytes that wait for one conn
	pool    sync.Pool
	waiting atomic.Int64 // bytes that a flush left behind
}

const (
	sendBufferSize = 4 << 10
	// keepBuffer is the largest buffer that goes back into the pool; larger ones were a burst.
	keepBuffer = 64 << 10
)

func (b *sendBuffers) get() *sendBuffer {
	if buf, ok := b.pool.Get().(*sendBuffer); ok {
		return buf
	}
	return &sendBuffer{sendQueue: sendQueue{bound: b.bound}, shared: b, bytes: make([]byte, 0, sendBufferSize)}
}

// put takes a buffer back whose bytes are not in the count any more.
func (b *sendBuffers) put(buf *sendBuffer) {
	if cap(buf.bytes) <= keepBuffer {
		*buf = sendBuffer{sendQueue: sendQueue{bound: b.bound}, shared: b, bytes: buf.bytes[:0]}
		b.pool.Put(buf)
	}
}
