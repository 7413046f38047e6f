//go:build linux

package swarm

import "bytes"

// Packet is a Socket.IO EVENT or ACK of the namespace /. Its bytes are valid during the call only.
type Packet struct {
	ID   int64  // -1 without
	Name []byte // of an event, without quotes
	Data []byte // the JSON array
}

// parsePacket reads what follows the type digit: [ack id]json. ok is false for other namespaces and attachments.
func parsePacket(b []byte, event bool) (p Packet, ok bool) {
	p.ID = -1
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		if i == 0 {
			p.ID = 0
		}
		p.ID = p.ID*10 + int64(b[i]-'0')
	}
	if i == len(b) || b[i] != '[' {
		return p, false
	}
	p.Data = b[i:]
	if !event {
		return p, true
	}
	if len(p.Data) < 4 || p.Data[1] != '"' {
		return p, false
	}
	end := bytes.IndexByte(p.Data[2:], '"')
	if end < 0 {
		return p, false
	}
	p.Name = p.Data[2 : 2+end]
	return p, true
}

// Int finds a number behind key, spelled with its quotes and colon, such as "seq":.
func Int(data, key []byte) (n int64, ok bool) {
	_, after, ok0 := bytes.Cut(data, key)
	if !ok0 {
		return 0, false
	}
	for _, c := range after {
		if c < '0' || c > '9' {
			break
		}
		n, ok = n*10+int64(c-'0'), true
	}
	return n, ok
}
