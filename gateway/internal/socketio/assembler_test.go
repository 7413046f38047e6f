package socketio

import (
	"bytes"
	"fmt"
	"testing"
)

func decoded(t *testing.T, text string) Packet {
	t.Helper()
	p, err := Decode([]byte(text), Limits{})
	if err != nil && !p.TooDeep {
		t.Fatalf("Decode(%q): %v", text, err)
	}
	return p
}

const twoAttachments = `52-7["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`

func TestAssembler(t *testing.T) {
	a := NewAssembler(1000)
	if complete, err := a.Text(decoded(t, `2["a"]`)); !complete || err != nil {
		t.Errorf("Text of a plain event = %v, %v, want complete", complete, err)
	}
	if p, attachments := a.Take(); p.Name() != "a" || attachments != nil {
		t.Errorf("Take = %+v, %v, want the event", p, attachments)
	}

	text := []byte(twoAttachments)
	p, err := Decode(text, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if complete, err := a.Text(p); complete || err != nil || !a.Waiting() {
		t.Errorf("Text of a binary event = %v, %v, want waiting", complete, err)
	}
	clear(text)
	first := []byte{1, 2}
	if complete, err := a.Binary(first); complete || err != nil {
		t.Errorf("Binary, first of two = %v, %v, want waiting", complete, err)
	}
	clear(first)
	if p, attachments := a.Take(); p.Name() != "" || attachments != nil {
		t.Errorf("Take before completion = %+v, %v, want nothing", p, attachments)
	}
	if complete, err := a.Binary([]byte{}); !complete || err != nil || a.Waiting() {
		t.Errorf("Binary, last = %v, %v, want complete", complete, err)
	}
	p, attachments := a.Take()
	if string(appendPacket(nil, p)) != twoAttachments || len(attachments) != 2 || !bytes.Equal(attachments[0], []byte{1, 2}) || attachments[1] == nil {
		t.Errorf("Take = %s, %v, want %s with copies of the frames", appendPacket(nil, p), attachments, twoAttachments)
	}
	if a.kept != 0 {
		t.Errorf("kept after Take = %d, want 0", a.kept)
	}
}

func TestAssemblerRefuses(t *testing.T) {
	binaryEvent := decoded(t, twoAttachments)
	size := len(binaryEvent.Data) + len(binaryEvent.Name())
	tests := []struct {
		name string
		max  int
		feed func(a *Assembler) error
		want Reason
	}{
		{"stray binary", 1000, func(a *Assembler) error { return second(a.Binary([]byte{1})) }, StrayBinary},
		{"binary after the last", 1000, func(a *Assembler) error {
			_, _ = a.Text(decoded(t, `50-["a"]`))
			return second(a.Binary(nil))
		}, StrayBinary},
		{"text inside", 1000, func(a *Assembler) error {
			_, _ = a.Text(binaryEvent)
			return second(a.Text(decoded(t, `2["a"]`)))
		}, TextInsideBinary},
		{"text too large", size - 1, func(a *Assembler) error { return second(a.Text(binaryEvent)) }, BinaryTooLarge},
		{"frames too large", size + 3, func(a *Assembler) error {
			_, _ = a.Text(binaryEvent)
			if _, err := a.Binary([]byte{1, 2}); err != nil {
				return fmt.Errorf("first frame: %w", err)
			}
			return second(a.Binary([]byte{1, 2}))
		}, BinaryTooLarge},
	}
	for _, tt := range tests {
		a := NewAssembler(tt.max)
		if err := tt.feed(a); reasonOf(err) != tt.want || a.kept != 0 || a.Waiting() {
			t.Errorf("%s = %v with %d bytes kept, want %s with none", tt.name, err, a.kept, tt.want)
		}
	}
}

func second(_ bool, err error) error { return err }

// TestAssemblerTooDeep awaits the attachments of a refused event, so that they are not stray, and throws them away.
func TestAssemblerTooDeep(t *testing.T) {
	a := NewAssembler(10)
	p := decoded(t, `51-3["a",`+string(bytes.Repeat([]byte("["), 50)))
	if complete, err := a.Text(p); complete || err != nil {
		t.Fatalf("Text = %v, %v, want waiting", complete, err)
	}
	if complete, err := a.Binary([]byte{1, 2, 3}); !complete || err != nil {
		t.Fatalf("Binary = %v, %v, want complete", complete, err)
	}
	got, attachments := a.Take()
	if !got.TooDeep || got.ID != 3 || got.Name() != "a" || len(attachments) != 1 || len(attachments[0]) != 0 {
		t.Errorf("Take = %+v, %v, want the refused packet and an empty attachment", got, attachments)
	}
}

// FuzzAssembler feeds packets that the input's lines describe: a line that begins with "b" is a binary frame.
func FuzzAssembler(f *testing.F) {
	f.Add([]byte(twoAttachments+"\nb123\nb\n2[\"a\"]\nb1"), 100)
	f.Add([]byte(twoAttachments+"\n2[\"a\"]"), 60)
	f.Fuzz(func(t *testing.T, script []byte, limit int) {
		limit = max(0, limit%1000)
		a := NewAssembler(limit)
		for line := range bytes.SplitSeq(script, []byte("\n")) {
			var complete bool
			var err error
			if len(line) > 0 && line[0] == 'b' {
				complete, err = a.Binary(line[1:])
			} else {
				p, decodeErr := Decode(line, Limits{})
				if decodeErr != nil && !p.TooDeep {
					continue
				}
				complete, err = a.Text(p)
			}
			if err != nil && (reasonOf(err) == "" || complete || a.Waiting() || a.kept != 0) {
				t.Fatalf("Assembler keeps %d bytes after %v, want none", a.kept, err)
			}
			held := len(a.packet.Data) + len(a.packet.name)
			for _, attachment := range a.attachments {
				held += cap(attachment)
			}
			if a.packet.Attachments > 0 && (a.kept > limit || len(a.attachments) > 0 && held > limit+8*len(a.attachments)) {
				t.Fatalf("Assembler keeps %d (%d) bytes, want at most %d", a.kept, held, limit)
			}
			if p, attachments := a.Take(); complete && len(attachments) != p.Attachments {
				t.Fatalf("attachments of %s = %d, want %d", appendPacket(nil, p), len(attachments), p.Attachments)
			}
		}
	})
}
