package socketio

import (
	"errors"
	"math/bits"
	"unicode/utf8"

	"github.com/starling-chat/starling/platform/rawjson"
)

// The defaults of Limits.
const (
	DefaultMaxAttachments = 10
	DefaultMaxDepth       = 32
	DefaultMaxNamespace   = 128
)

// maxAttachments bounds Limits.MaxAttachments, because placeholders keeps one bit for each.
const maxAttachments = 64

// Limits bounds what Decode accepts. Zero fields mean the defaults, so the zero Limits is fit for use.
type Limits struct {
	// MaxAttachments is the number of binary attachments of one packet, at most 64.
	MaxAttachments int
	// MaxDepth is how deeply arrays and objects nest; the array around an event's name and arguments counts as one.
	MaxDepth int
	// MaxNamespace is the length of a namespace's name in bytes.
	MaxNamespace int
	// Known are the names of namespaces and events that Decode returns without allocating.
	Known Names
}

// Names is a set of strings that occur in most packets.
type Names map[string]string

// NewNames makes the set; it is only read afterwards.
func NewNames(names ...string) Names {
	set := make(Names, len(names))
	for _, name := range names {
		set[name] = name
	}
	return set
}

// text returns b as a string, from the set if it is there.
func (n Names) text(b []byte) string {
	if s, ok := n[string(b)]; ok {
		return s
	}
	return string(b)
}

func (l Limits) withDefaults() Limits {
	if l.MaxAttachments <= 0 {
		l.MaxAttachments = DefaultMaxAttachments
	}
	l.MaxAttachments = min(l.MaxAttachments, maxAttachments)
	if l.MaxDepth <= 0 {
		l.MaxDepth = DefaultMaxDepth
	}
	if l.MaxNamespace <= 0 {
		l.MaxNamespace = DefaultMaxNamespace
	}
	return l
}

// Decode decodes the text of one Engine.IO message. It returns a *ProtocolError, with an empty Packet, for everything
// that docs/socketio.md ("Socket.IO") wants a session closed for, and ErrTooDeep, with a Packet that is TooDeep, for JSON
// beyond Limits.MaxDepth. Binary packets still need their attachments: see Assembler.
func Decode(data []byte, limits Limits) (Packet, error) {
	limits = limits.withDefaults()
	p, i, err := decodeHeader(data, limits)
	if err != nil {
		return Packet{}, err
	}
	i = rawjson.SkipSpace(data, i)
	if reason := checkContent(p.Type, data, i); reason != "" {
		return Packet{}, &ProtocolError{Reason: reason, Offset: i}
	}
	if i == len(data) {
		return p, nil
	}

	content := data[i:] // what is returned comes from content, not from s, whose function would then live on the heap
	s := rawjson.Scanner{Data: content, MaxDepth: limits.MaxDepth}
	var placeholders placeholders
	if p.Type.IsBinary() {
		placeholders.data, placeholders.attachments = content, p.Attachments
		s.Watch = &rawjson.Watch{Names: [2]string{"_placeholder", "num"}, Object: placeholders.object}
	}
	scanErr := s.Scan()
	if scanErr != nil {
		scanErr = protocolError(scanErr, placeholders.stray)
	} else if bits.OnesCount64(placeholders.seen) != p.Attachments {
		scanErr = &ProtocolError{Reason: BadPlaceholder, Offset: s.End}
	}
	if scanErr != nil && !errors.Is(scanErr, ErrTooDeep) {
		return Packet{}, moved(scanErr, i)
	}
	if p.Type.IsEvent() {
		if p.name, err = eventName(&s, limits.Known); err != nil {
			return Packet{}, moved(err, i)
		}
		p.nameEnd = s.First.End
	}
	if scanErr != nil {
		p.TooDeep = true
		return p, scanErr
	}
	p.Data = content[:s.End]
	return p, nil
}

// decodeHeader decodes everything before the JSON and returns where that begins.
func decodeHeader(data []byte, limits Limits) (p Packet, i int, err error) {
	if len(data) == 0 || data[0] < '0' || data[0] > '6' {
		return p, 0, &ProtocolError{Reason: UnknownType}
	}
	p.Type, p.Namespace, i = Type(data[0]-'0'), MainNamespace, 1

	if p.Type.IsBinary() {
		count, end, ok := decimal(data, i)
		if !ok || end == len(data) || data[end] != '-' || count > int64(limits.MaxAttachments) {
			return p, 0, &ProtocolError{Reason: BadAttachmentCount, Offset: i}
		}
		p.Attachments, i = int(count), end+1
	}

	if i < len(data) && data[i] == '/' {
		end := i + 1
		for end < len(data) && data[end] != ',' {
			end++
		}
		if !validNamespace(data[i:end], limits.MaxNamespace) {
			return p, 0, &ProtocolError{Reason: BadNamespace, Offset: i}
		}
		if end-i > 1 {
			p.Namespace = limits.Known.text(data[i:end])
		}
		i = min(end+1, len(data))
	}

	start := i
	if i < len(data) && '0' <= data[i] && data[i] <= '9' {
		if p.ID, i, p.HasID = decimal(data, i); !p.HasID || p.ID > MaxID {
			return p, 0, &ProtocolError{Reason: BadAckID, Offset: start}
		}
	}
	if p.HasID != p.Type.IsAck() && !p.Type.IsEvent() {
		return p, 0, &ProtocolError{Reason: BadAckID, Offset: start}
	}
	return p, i, nil
}

// decimal reads the digits at i, at most 16 of them, and returns the place after them. Not ok means none or too many.
func decimal(data []byte, i int) (n int64, end int, ok bool) {
	for end = i; end < len(data) && '0' <= data[end] && data[end] <= '9'; end++ {
		if end-i == len("9007199254740992") {
			return 0, end, false
		}
		n = n*10 + int64(data[end]-'0')
	}
	return n, end, end > i
}

// validNamespace keeps control characters out: namespaces are echoed, and in a polling body 0x1e is the separator.
func validNamespace(name []byte, maxLen int) bool {
	if len(name) > maxLen {
		return false
	}
	for _, c := range name {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(name)
}

// checkContent looks at the first bytes of the JSON, at i, and returns "" if a packet of type t may begin so. It runs
// before the scanner so that an event without a name is malformed however deep it nests.
func checkContent(t Type, data []byte, i int) Reason {
	var first byte
	if i < len(data) {
		first = data[i]
	}
	ok := false
	switch t {
	case Connect:
		ok = first == '{' || first == 0 && i == len(data)
	case Disconnect:
		ok = i == len(data)
	case ConnectError:
		ok = first == '{' || first == '"'
	case Ack, BinaryAck:
		ok = first == '['
	case Event, BinaryEvent:
		if first == '[' {
			i = rawjson.SkipSpace(data, i+1)
			ok = i < len(data) && (data[i] == '"' || data[i] == '-' || '0' <= data[i] && data[i] <= '9')
		}
	}
	if !ok {
		return BadContent
	}
	return ""
}

// eventName returns the name of the event that s has scanned, of which only the first element needs to be complete.
func eventName(s *rawjson.Scanner, known Names) (string, error) {
	raw := s.Data[s.First.Start:s.First.End]
	if len(raw) == 0 {
		return "", &ProtocolError{Reason: BadContent, Offset: s.First.Start}
	}
	var name string
	switch c := raw[0]; {
	case c == '"' && rawjson.Plain(raw):
		name = known.text(raw[1 : len(raw)-1])
	case c == '"':
		name, _ = rawjson.Unquote(raw)
	case c == '-' || '0' <= c && c <= '9':
		return string(raw), nil
	default:
		return "", &ProtocolError{Reason: BadContent, Offset: s.First.Start}
	}
	if Reserved(name) {
		return "", &ProtocolError{Reason: ReservedEvent, Offset: s.First.Start}
	}
	return name, nil
}

// Reserved reports whether an event may not have this name, because every socket has such an event of its own.
func Reserved(name string) bool {
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}

// placeholders notes which attachments the JSON of a binary packet points at.
type placeholders struct {
	data        []byte
	attachments int
	seen        uint64 // a bit for each attachment
	stray       int    // where a placeholder without its attachment stands, once one was met
}

// object looks at an object with a member _placeholder: {"_placeholder":true,"num":n} stands for attachment n. It refuses
// those whose attachment is not there.
func (p *placeholders) object(open int, watched [2]rawjson.Span) bool {
	mark, num := watched[0], p.data[watched[1].Start:watched[1].End]
	if string(p.data[mark.Start:mark.End]) != "true" {
		return true
	}
	n, end, ok := decimal(num, 0)
	if !ok || end != len(num) || n >= int64(p.attachments) {
		p.stray = open
		return false
	}
	p.seen |= 1 << n
	return true
}

// protocolError turns what a scan found wrong into the errors of this package; stray is where a placeholder was refused.
func protocolError(err error, stray int) error {
	switch {
	case errors.Is(err, rawjson.ErrTooDeep):
		return ErrTooDeep
	case errors.Is(err, rawjson.ErrRefused):
		return &ProtocolError{Reason: BadPlaceholder, Offset: stray}
	}
	if e, ok := errors.AsType[*rawjson.SyntaxError](err); ok {
		return &ProtocolError{Reason: BadJSON, Offset: e.Offset}
	}
	return err
}

// moved shifts the place of a scanner's error by what came before the JSON.
func moved(err error, by int) error {
	if e, ok := errors.AsType[*ProtocolError](err); ok {
		e.Offset += by
	}
	return err
}
