package eventloop

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reading gives a descriptor that has something to read, with its reader at work.
func reading() *Descriptor {
	d := &Descriptor{}
	d.Hold(-1)
	d.Happened(unix.EPOLLIN)
	return d
}

// TestEndBehindARead: what the loop tells while a read is under way is about bytes that the read has not seen. A peer that says something and
// closes just then would not be noticed otherwise.
func TestEndBehindARead(t *testing.T) {
	again, said, end := errors.New("again"), errors.New("said"), errors.New("end")
	for name, tc := range map[string]struct {
		reads []error // what each gives
		told  int     // after which the loop tells that the peer has said something and closed
	}{
		"nothing was there":      {[]error{again, said, end}, 1},
		"something was there":    {[]error{said, said, end}, 1},
		"the end is far":         {[]error{said, said, said, said, end}, 1},
		"told before every read": {[]error{said, end}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := reading()
			told := func(after int) {
				if after == tc.told {
					if read, _ := d.Happened(unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP); read {
						t.Error("a second reader is asked for")
					}
				}
			}
			told(0)
			var got error
			reads := 0
			for ; d.Readable(); reads++ {
				_, got = d.noting(1024, func() (int, error) {
					outcome := tc.reads[min(reads, len(tc.reads)-1)]
					told(reads + 1)
					switch {
					case errors.Is(outcome, again):
						return -1, unix.EAGAIN
					case errors.Is(outcome, said):
						return 5, nil
					}
					return 0, nil
				})
				if got != nil {
					break
				}
			}
			if !errors.Is(got, io.EOF) || reads != len(tc.reads)-1 {
				t.Errorf("after %d reads: %v, want the end of the stream after %d", reads, got, len(tc.reads)-1)
			}
			if !d.Readable() {
				t.Error("the end is not to be read again")
			}
		})
	}
}

// TestFullReadGoesOn: a read that filled its buffer may have left something, one that did not has not.
func TestFullReadGoesOn(t *testing.T) {
	for n, want := range map[int]bool{1: false, 1023: false, 1024: true} {
		d := reading()
		if _, err := d.noting(1024, func() (int, error) { return n, nil }); err != nil {
			t.Fatal(err)
		}
		if got := d.Readable(); got != want {
			t.Errorf("after a read of %d of 1024 bytes: Readable() = %v, want %v", n, got, want)
		}
	}
}

// TestNewsHoldTheReader: who has news while the reader is about to end starts no other one, and relies on this one to look again.
func TestNewsHoldTheReader(t *testing.T) {
	for name, news := range map[string]func(*Descriptor) bool{
		"woken":     (*Descriptor).Wake,
		"something": func(d *Descriptor) bool { read, _ := d.Happened(unix.EPOLLIN); return read },
		"the end":   func(d *Descriptor) bool { read, _ := d.Happened(unix.EPOLLRDHUP); return read },
		"an error":  func(d *Descriptor) bool { read, _ := d.Happened(unix.EPOLLERR); return read },
	} {
		d := &Descriptor{}
		d.Hold(-1)
		d.Look()
		if news(d) {
			t.Errorf("%s: a second reader is asked for", name)
		}
		if d.LetGo() {
			t.Errorf("%s: the reader ended without having seen it", name)
		}
		d.Look()
		if !d.LetGo() {
			t.Errorf("%s: the reader cannot end after having looked", name)
		}
		if !news(d) {
			t.Errorf("%s: no reader is asked for, and there is none", name)
		}
	}
}

// TestRoomBehindAFullWrite: between the write that found the kernel full and the note of that there may come room, of which the loop tells
// nobody. So there is one more write after the note, and no more than one writer is asked for when there is room.
func TestRoomBehindAFullWrite(t *testing.T) {
	d := &Descriptor{}
	d.Hold(-1)
	writes := 0
	n, err := d.asking(func() (int, error) {
		if writes++; writes == 1 {
			return -1, unix.EAGAIN
		}
		return 7, nil
	})
	if n != 7 || err != nil || writes != 2 {
		t.Errorf("asking = %d, %v after %d writes, want 7 bytes by the second", n, err, writes)
	}
	full := func() (int, error) { writes++; return -1, unix.EAGAIN }
	for range 2 {
		if n, err := d.asking(full); n != 0 || err != nil {
			t.Errorf("asking = %d, %v of a full kernel, want nothing and no error", n, err)
		}
	}
	if _, write := d.Happened(unix.EPOLLOUT | unix.EPOLLIN); !write {
		t.Error("nobody is asked to write on when there is room")
	}
	if _, write := d.Happened(unix.EPOLLOUT | unix.EPOLLIN); write {
		t.Error("a second one is asked to write on")
	}
	if _, err := d.asking(func() (int, error) { return -1, unix.EPIPE }); !errors.Is(err, unix.EPIPE) {
		t.Errorf("asking = %v, want %v", err, unix.EPIPE)
	}
}

// aheadConn is a connection that has read ahead, as one does that tells TLS from plain text. It has the methods of a TCP connection.
type aheadConn struct{ *net.TCPConn }

// TestDetachTakesWhatIsADescriptor: others are left alone, as they are.
func TestDetachTakesWhatIsADescriptor(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, conn := range map[string]net.Conn{"a pipe": near, "one that has read ahead": aheadConn{dialed.(*net.TCPConn)}} {
		if _, ok := Detach(conn); ok {
			t.Errorf("Detach takes %s", name)
		}
		if err := conn.SetDeadline(time.Now()); err != nil {
			t.Errorf("%s is closed: %v", name, err)
		}
	}
	number, ok := Detach(dialed)
	if !ok {
		t.Fatal("Detach does not take a TCP connection")
	}
	d := &Descriptor{}
	d.Hold(number)
	defer d.Close()
	if err := dialed.SetDeadline(time.Now()); err == nil {
		t.Error("package net still has the connection")
	}
	if n, err := d.Read(make([]byte, 10)); n != 0 || err != nil {
		t.Errorf("Read = %d, %v of the copy with nothing to read, want nothing", n, err)
	}
	if n, err := d.Write([]byte("hello")); n != 5 || err != nil {
		t.Errorf("Write = %d, %v, want all", n, err)
	}
}
