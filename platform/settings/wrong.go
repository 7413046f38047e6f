package settings

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// Wrong is an error that its user can only end by another setting: run.Main shows it as one line and exits with code 2, as it
// does for what Parse finds.
type Wrong struct {
	Setting string // the variable, as NATS_URL
	Err     error
}

// Error names the setting first.
func (w *Wrong) Error() string { return fmt.Sprintf("%s: %v", w.Setting, w.Err) }

// Unwrap gives the error without the setting's name.
func (w *Wrong) Unwrap() error { return w.Err }

// CheckAddress tells what is wrong with an address to listen on.
func CheckAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("it is not host:port")
	}
	return nil
}

// Listen listens by TCP on the address that setting has; the error is a *Wrong, as of a port that is in use.
func Listen(ctx context.Context, setting, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &Wrong{setting, err}
	}
	return listener, nil
}
