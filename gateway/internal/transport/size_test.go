package transport

import (
	"testing"
	"unsafe"
)

// TestSizeOfAConn guards what each idle conn has, and prints it: these are size classes of the allocator.
func TestSizeOfAConn(t *testing.T) {
	for name, c := range map[string]struct{ got, most uintptr }{
		"WebSocket":  {unsafe.Sizeof(WebSocket{}), 96},
		"parkedConn": {unsafe.Sizeof(parkedConn{}), 144},
	} {
		t.Logf("%s: %d bytes", name, c.got)
		if c.got > c.most {
			t.Errorf("a %s has %d bytes, want %d at most", name, c.got, c.most)
		}
	}
}
