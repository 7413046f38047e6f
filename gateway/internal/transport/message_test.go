package transport

import (
	"bytes"
	"testing"

	"github.com/gobwas/ws"
	"github.com/google/go-cmp/cmp"
)

// frames reads the frames that a server made, with another implementation's reader.
func frames(t *testing.T, raw []byte) (list []ws.Frame) {
	t.Helper()
	for r := bytes.NewReader(raw); r.Len() > 0; {
		f, err := ws.ReadFrame(r)
		if err != nil {
			t.Fatalf("frame cannot be read: %v", err)
		}
		list = append(list, f)
	}
	return list
}

func TestMessage(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 100_000} {
		want := string(bytes.Repeat([]byte("x"), size))
		for _, guess := range []int{0, 10, size} { // a wrong guess of the size costs a copy, nothing else
			b := NewBuilder(guess)
			m := b.Message(append(b.Buffer(), want...), [][]byte{{1, 2}, {}, bytes.Repeat([]byte{7}, 130)})
			list := frames(t, m.frames)
			var got []string
			for _, f := range list {
				if !f.Header.Fin || f.Header.Masked || f.Header.Rsv != 0 {
					t.Errorf("header = %+v, want final and unmasked", f.Header)
				}
				got = append(got, string(rune('0'+f.Header.OpCode))+string(f.Payload))
			}
			if diff := cmp.Diff([]string{"1" + want, "2\x01\x02", "2", "2" + string(bytes.Repeat([]byte{7}, 130))}, got); diff != "" {
				t.Errorf("Message of %d bytes: -want +got\n%s", size, diff)
			}
			if string(m.text) != want || len(m.attachments) != 3 {
				t.Errorf("Text has %d bytes, %d attachments, want %d and 3", len(m.text), len(m.attachments), size)
			}
		}
	}
	if got := frames(t, TextMessage("2").frames); len(got) != 1 || string(got[0].Payload) != "2" {
		t.Errorf("TextMessage(2) = %v, want one frame", got)
	}
}
