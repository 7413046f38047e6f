//go:build unix && !linux

package pgserver

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// childAttributes cannot tie the child to its parent's life here; stopOrphan does it later.
func childAttributes(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as, Setpgid: true}
}

// isPostmaster reports whether pid is a living PostgreSQL server of the directory.
func isPostmaster(pid int, data string) bool {
	out, err := exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(pid)).Output() //nolint:gosec,noctx // a number; returns at once
	return err == nil && strings.Contains(string(out), "postgres") && strings.Contains(string(out), data)
}
