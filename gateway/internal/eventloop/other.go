//go:build !linux

package eventloop

import "errors"

// Check tells why this system has no event loops.
func Check() error { return errors.ErrUnsupported }
