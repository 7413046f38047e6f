package socketio

import "bytes"

// Assembler puts binary packets together: the text packet first, then its attachments, one binary frame each.
//
//	            Text with attachments
//	  ┌─ empty ─────────────────────────► waiting ─┐ Binary,
//	  │    ▲ ▲                            │  │  ▲  │ not the last
//	  │    │ └──────── any error ─────────┘  │  └──┘
//	  │    │ Take                            │
//	  └──► complete ◄────────────────────────┘
//	Text without             Binary, the last
//
// It copies what it keeps and never keeps more than its bound of bytes. An error drops everything; the session is to
// be closed then. It belongs to the session's reader.
type Assembler struct {
	maxBytes int

	packet      Packet
	attachments [][]byte
	kept        int // bytes held: JSON, the event's name, attachments
	waiting     bool
}

// NewAssembler makes an Assembler that accepts binary packets of up to maxBytes bytes, JSON and attachments together.
func NewAssembler(maxBytes int) *Assembler {
	return &Assembler{maxBytes: maxBytes}
}

// Waiting reports whether attachments are still to come.
func (a *Assembler) Waiting() bool { return a.waiting }

// Kept tells how many bytes are held of a packet that is not complete.
func (a *Assembler) Kept() int { return a.kept }

// Text feeds a packet that Decode returned, also one that is TooDeep: its attachments are awaited and thrown away.
// complete means that Take has it, at once for packets without attachments, which are not copied and still alias the
// input. The error is a *ProtocolError.
func (a *Assembler) Text(p Packet) (complete bool, err error) {
	if a.waiting {
		return false, a.fail(TextInsideBinary)
	}
	a.reset()
	a.packet = p
	if p.Attachments <= 0 {
		return true, nil
	}
	a.kept = len(p.Data) + len(p.name)
	if a.kept > a.maxBytes {
		return false, a.fail(BinaryTooLarge)
	}
	a.packet.Data = bytes.Clone(p.Data)
	a.waiting = true
	return false, nil
}

// Binary feeds one binary frame. complete means that it was the last and Take has the packet. The error is a
// *ProtocolError.
func (a *Assembler) Binary(frame []byte) (complete bool, err error) {
	if !a.waiting {
		return false, a.fail(StrayBinary)
	}
	if len(frame) > a.maxBytes-a.kept {
		return false, a.fail(BinaryTooLarge)
	}
	if a.packet.TooDeep {
		frame = nil
	}
	if a.attachments == nil {
		a.attachments = make([][]byte, 0, a.packet.Attachments)
	}
	a.attachments = append(a.attachments, append([]byte{}, frame...))
	a.kept += len(frame)
	a.waiting = len(a.attachments) < a.packet.Attachments
	return !a.waiting, nil
}

// Take returns the complete packet with its attachments and forgets them. Before completion it returns nothing.
func (a *Assembler) Take() (Packet, [][]byte) {
	if a.waiting {
		return Packet{}, nil
	}
	p, attachments := a.packet, a.attachments
	a.reset()
	return p, attachments
}

func (a *Assembler) reset() {
	*a = Assembler{maxBytes: a.maxBytes}
}

func (a *Assembler) fail(reason Reason) error {
	a.reset()
	return &ProtocolError{Reason: reason}
}
