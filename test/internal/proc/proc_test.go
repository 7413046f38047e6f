package proc

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

func TestOwnProcess(t *testing.T) {
	self := os.Getpid()
	for deadline := time.Now().Add(30 * time.Second); CPU(self) == 0 && time.Now().Before(deadline); {
		_ = make([]byte, 1<<10) // uses time
	}
	if CPU(self) == 0 || CPUTree(self) < CPU(self) {
		t.Errorf("CPU = %v, CPUTree = %v, want some time, and no less of the tree", CPU(self), CPUTree(self))
	}
	if all, anonymous := Memory(self, Resident), Memory(self, Anonymous); anonymous <= 0 || all < anonymous {
		t.Errorf("Memory = %d bytes, of these anonymous %d, want some", all, anonymous)
	}
	if got := Memory(self, "Nothing:"); got != 0 {
		t.Errorf("Memory of an unknown kind = %d, want 0", got)
	}
}

func TestChildren(t *testing.T) {
	// The shell starts one child and lives on, with a single thread. A command in the background has no input unless it is given
	// one; it ends with the test's end of the pipe.
	cmd := exec.Command("/bin/sh", "-c", "exec 3<&0; cat <&3 & wait")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	var children []int
	for deadline := time.Now().Add(30 * time.Second); len(children) == 0 && time.Now().Before(deadline); {
		children = Children(pid)
	}
	if len(children) != 1 || !slices.Equal(Descendants(pid), children) || !slices.Contains(Descendants(os.Getpid()), children[0]) {
		t.Errorf("Children = %v, Descendants = %v, want one, and the same among those of this process", children, Descendants(pid))
	}
	_ = stdin.Close()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if CPU(pid) != 0 || Memory(pid, Resident) != 0 || len(Children(pid)) != 0 {
		t.Error("a process that is gone still uses something")
	}
}
