//go:build !linux

package pg

import "syscall"

// setUserTimeout: the keepalives have to do.
func setUserTimeout(string, string, syscall.RawConn) error { return nil }
