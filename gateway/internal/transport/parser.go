package transport

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// parser turns bytes from a client into whole messages. It does no I/O and keeps bytes only while a frame or a
// fragmented message is incomplete, so an idle conn holds nothing. It never takes memory for a length that a header
// merely claims: what is kept are bytes that came.
type parser struct {
	maxMessage int // bytes of one message, all fragments together

	rest       []byte // an incomplete frame
	fragments  []byte // the message so far, while fragmented
	fragmentOp ws.OpCode
	stopped    bool // the rest are frames that were kept back, not only an incomplete one
	fragmented bool
	units      uint64 // whole messages, and control frames between messages, so far
	price      int    // of the control frames and fragments since the WebSocket last looked
}

// closeError is the peer's fault: the conn is closed with its code.
type closeError struct {
	code   Code
	reason Reason
	text   string
}

func (e *closeError) Error() string { return e.text }

func errProtocol(text string) *closeError { return &closeError{CodeProtocol, ReasonProtocol, text} }

// frameSink is told what the frames say.
type frameSink interface {
	message(data []byte, binary bool)
	ping(data []byte)
}

// errPeerClosed ends the parsing: nothing after a close frame is looked at.
var errPeerClosed = errors.New("the peer sent a close frame")

// incomplete tells whether the beginning of a frame waits for its end.
func (p *parser) incomplete() bool { return len(p.rest) > 0 || p.fragmented }

// held is how many bytes are kept of what has begun.
func (p *parser) held() int { return len(p.rest) + len(p.fragments) }

// feed parses data, which may be changed (unmasked in place) and is not kept. It stops early, keeping the rest, when paused
// says so after a message.
func (p *parser) feed(data []byte, sink frameSink, paused func() bool) error {
	p.stopped = false
	kept := len(p.rest) > 0
	if kept {
		data = append(p.rest, data...)
		p.rest = nil
	}
	whole := data
	for len(data) > 0 {
		n, err := p.frame(data, sink)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		data = data[n:]
		if len(data) > 0 && paused() {
			p.stopped = true
			break
		}
	}
	switch {
	case len(data) == 0:
	case kept && len(data) == len(whole):
		p.rest = data // grows by append: a frame that comes byte by byte is not copied each time
	default:
		p.rest = append(make([]byte, 0, len(data)+512), data...)
	}
	return nil
}

// frame parses one frame at the start of data and returns its length, 0 if it is incomplete.
func (p *parser) frame(data []byte, sink frameSink) (int, error) {
	size := headerSize(data)
	if size == 0 || len(data) < size {
		return 0, p.checkFirstBytes(data)
	}
	h, err := ws.ReadHeader(bytes.NewReader(data[:size]))
	if err != nil {
		return 0, errProtocol("bad frame header")
	}
	if err := p.check(h); err != nil {
		return 0, err
	}
	total := size + int(h.Length)
	if len(data) < total {
		return 0, nil
	}
	payload := data[size:total]
	ws.Cipher(payload, h.Mask, 0)
	err = p.dispatch(h, payload, sink)
	if !p.fragmented {
		p.units++
	}
	return total, err
}

// checkFirstBytes refuses a frame early that would be refused when it is complete, so that a peer cannot make the gateway
// wait for it.
func (p *parser) checkFirstBytes(data []byte) error {
	if len(data) >= 2 && data[1]&0x80 == 0 {
		return errProtocol("frame without mask")
	}
	return nil
}

// headerSize tells how long the header at the start of data is, 0 if that cannot be told yet.
func headerSize(data []byte) int {
	if len(data) < 2 {
		return 0
	}
	size := 2
	switch data[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if data[1]&0x80 != 0 {
		size += 4
	}
	return size
}

// check applies RFC 6455 §5 and the limits before any byte of the payload is waited for.
func (p *parser) check(h ws.Header) error {
	switch {
	case !h.Masked:
		return errProtocol("frame without mask")
	case h.Rsv != 0:
		return errProtocol("reserved bits set")
	case h.Length < 0:
		return errProtocol("frame length over 63 bits")
	}
	if h.OpCode.IsControl() {
		switch {
		case h.OpCode != ws.OpClose && h.OpCode != ws.OpPing && h.OpCode != ws.OpPong:
			return errProtocol("unknown control frame")
		case h.Length > ws.MaxControlFramePayloadSize:
			return errProtocol("control frame too long")
		case !h.Fin:
			return errProtocol("fragmented control frame")
		}
		return nil
	}
	switch {
	case h.OpCode == ws.OpContinuation && !p.fragmented:
		return errProtocol("continuation without a beginning")
	case h.OpCode != ws.OpContinuation && p.fragmented:
		return errProtocol("new message inside a fragmented one")
	case h.OpCode != ws.OpContinuation && h.OpCode != ws.OpText && h.OpCode != ws.OpBinary:
		return errProtocol("unknown frame type")
	case h.Length > int64(p.maxMessage-len(p.fragments)):
		return &closeError{CodeTooBig, ReasonTooBig, "message over the limit"}
	}
	return nil
}

func (p *parser) dispatch(h ws.Header, payload []byte, sink frameSink) error {
	switch h.OpCode {
	case ws.OpClose:
		return errPeerClosed
	case ws.OpPing:
		p.price += PriceControl
		sink.ping(payload)
		return nil
	case ws.OpPong:
		p.price += PriceControl
		return nil
	default:
	}
	op := h.OpCode
	if p.fragmented || !h.Fin {
		if op != ws.OpContinuation {
			p.fragmentOp, p.fragmented = op, true
		}
		p.fragments = append(p.fragments, payload...)
		if !h.Fin {
			p.price += priceFragment
			return nil
		}
		payload, op = p.fragments, p.fragmentOp
		p.fragments, p.fragmented = nil, false
	}
	if op == ws.OpText && !utf8.Valid(payload) {
		return &closeError{CodeInvalidData, ReasonProtocol, "text is not UTF-8"}
	}
	sink.message(payload, op == ws.OpBinary)
	return nil
}
