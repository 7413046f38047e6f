package pgserver

import (
	"fmt"
	"os"
	"syscall"
)

// childAttributes makes the kernel shut the child down (SIGQUIT, immediate) when
// the thread that started it ends.
func childAttributes(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}

// isPostmaster reports whether pid is a living process that works in the cluster's directory.
func isPostmaster(pid int, data string) bool {
	cwd, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return false
	}
	want, err := os.Stat(data)
	return err == nil && os.SameFile(cwd, want)
}
