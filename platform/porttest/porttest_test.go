package porttest

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestReserve: nobody answers at a reserved address; one may listen there, and again later; nobody else is given it.
func TestReserve(t *testing.T) {
	address := Reserve(t)
	for range 2 {
		if conn, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("Dial = %v, %v while nobody listens, want it refused", conn, err)
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		_ = listener.Close()
	}
	for range 100 {
		if other := Reserve(t); other == address {
			t.Fatalf("Reserve gives %s twice", address)
		}
	}
}
