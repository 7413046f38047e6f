package sioclient

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gobwas/ws"
)

var (
	errMasked    = errors.New("the server sent a masked frame")
	errFragment  = errors.New("the server sent a fragment or used an extension")
	errFrameSize = errors.New("the server sent a frame that is too large")
	errClosed    = errors.New("closed by the server")
)

// Frame is one WebSocket frame of the server. Its payload lies in the bytes that were cut.
type Frame struct {
	Op      ws.OpCode
	Payload []byte
}

// CutFrame cuts the first frame off b; ok is false while the frame is incomplete. A payload above limit is an error.
func CutFrame(b []byte, limit int) (f Frame, rest []byte, ok bool, err error) {
	if len(b) < 2 {
		return f, b, false, nil
	}
	if b[0]&0x80 == 0 || b[0]&0x70 != 0 {
		return f, b, false, errFragment
	}
	if b[1]&0x80 != 0 {
		return f, b, false, errMasked
	}
	head, size := 2, uint64(b[1])
	switch size {
	case 126:
		if len(b) < 4 {
			return f, b, false, nil
		}
		head, size = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return f, b, false, nil
		}
		head, size = 10, binary.BigEndian.Uint64(b[2:])
	}
	if size > uint64(limit) { //nolint:gosec // a constant of the caller
		return f, b, false, errFrameSize
	}
	end := head + int(size) //nolint:gosec // at most limit
	if len(b) < end {
		return f, b, false, nil
	}
	return Frame{Op: ws.OpCode(b[0] & 0x0f), Payload: b[head:end]}, b[end:], true, nil
}

// AppendFrame appends a whole masked frame.
func AppendFrame(dst []byte, op ws.OpCode, payload []byte, mask [4]byte) []byte {
	dst = append(dst, 0x80|byte(op))
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n <= 0xffff:
		dst = append(dst, 0x80|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, 0x80|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	dst = append(dst, mask[:]...)
	at := len(dst)
	dst = append(dst, payload...)
	ws.Cipher(dst[at:], mask, 0)
	return dst
}

// CloseError says what the payload of a close frame says.
func CloseError(payload []byte) error {
	if len(payload) < 2 {
		return errClosed
	}
	return fmt.Errorf("%w: %d %s", errClosed, binary.BigEndian.Uint16(payload), payload[2:])
}
