package transport

import "sync"

// sendBuffers lends the buffers of send queues, so that a conn with nothing to send owns none.
type sendBuffers struct{ pool sync.Pool }

const (
	sendBufferSize = 4 << 10
	// keepBuffer is the largest buffer that goes back into the pool; larger ones were a burst.
	keepBuffer = 64 << 10
)

func (b *sendBuffers) get() *[]byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, 0, sendBufferSize)
	return &buf
}

func (b *sendBuffers) put(buf *[]byte) {
	if cap(*buf) <= keepBuffer {
		*buf = (*buf)[:0]
		b.pool.Put(buf)
	}
}
