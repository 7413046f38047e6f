//go:build linux

package launch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Spec says what to run. It is set before the first Start.
type Spec struct {
	Name string // in messages
	Path string
	Args []string
	Dir  string
	Env  []string // added to this process's

	Output  io.Writer // gets what the process prints; nil: LogFile
	LogFile string    // path; every start appends to it

	// Orderly has the kernel send SIGTERM instead of SIGKILL when the rig dies, to a process that has children of its own to end.
	Orderly bool
	// AnyExit takes every exit code after SIGTERM for success.
	AnyExit bool
}

// Process is one child, which can be ended and started again at will.
type Process struct {
	Spec

	mu   sync.Mutex
	cmd  *exec.Cmd     // guarded by mu; nil before the first start
	done chan struct{} // guarded by mu; of cmd, closed when it has ended
	want bool          // guarded by mu; it should be running
}

// NewProcess prepares a process. Start starts it.
func NewProcess(s Spec) *Process { return &Process{Spec: s} }

// Start starts the process unless it runs.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.want = true
	if p.aliveLocked() {
		return nil
	}
	cmd := exec.Command(p.Path, p.Args...) //nolint:gosec,noctx // our own programs; their owner ends them in order
	cmd.Dir, cmd.Env = p.Dir, append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = p.Output, p.Output
	if p.Output == nil {
		log, err := os.OpenFile(p.LogFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("open the log of %s: %w", p.Name, err)
		}
		defer func() { _ = log.Close() }() // the child has its own copy
		cmd.Stdout, cmd.Stderr = log, log
	}
	// A process group of its own keeps Ctrl-C from the child: the rig stops it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.Orderly {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	}
	started, done := make(chan error), make(chan struct{})
	go func() {
		// The kernel watches the thread that started the child, not the process, so the thread stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // cmd.ProcessState tells how it ended
			close(done)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.cmd, p.done = cmd, done
	return nil
}

func (p *Process) aliveLocked() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// PID is the process id, 0 while the process does not run.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.aliveLocked() {
		return 0
	}
	return p.cmd.Process.Pid
}

// Ended is an error when the process has ended though nobody asked it to.
func (p *Process) Ended() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.want || p.aliveLocked() {
		return nil
	}
	if p.cmd == nil {
		return fmt.Errorf("%s: %w", p.Name, errNotRunning)
	}
	return fmt.Errorf("%s has ended by itself: %v%s", p.Name, p.cmd.ProcessState, lastWords(p.LogFile))
}

// lastWords gives the end of a log, for a message: by the time that somebody reads it the log may be gone.
func lastWords(path string) string {
	const most = 1000              // bytes
	text, err := os.ReadFile(path) //nolint:gosec // the rig's own
	if err != nil || len(text) == 0 {
		return ""
	}
	return "; it said last: " + string(bytes.TrimSpace(text[max(0, len(text)-most):]))
}

// Kill is kill -9; it returns when the process is gone.
func (p *Process) Kill() {
	cmd, done := p.unwant()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill()
	<-done
}

// Terminate is SIGTERM; it returns when the process is gone, and kills it when ctx ends first, which is an error.
func (p *Process) Terminate(ctx context.Context) error {
	cmd, done := p.unwant()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
		if state := cmd.ProcessState; !state.Success() && !p.AnyExit {
			return fmt.Errorf("%s ended after SIGTERM with %v", p.Name, state)
		}
		return nil
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		<-done
		return fmt.Errorf("%s did not end after SIGTERM: %w", p.Name, ctx.Err())
	}
}

// unwant notes that the process is to end. cmd is nil where it does not run.
func (p *Process) unwant() (cmd *exec.Cmd, done <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.want = false
	if !p.aliveLocked() {
		return nil, nil
	}
	return p.cmd, p.done
}

// Pause is SIGSTOP.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume is SIGCONT.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

var errNotRunning = errors.New("it does not run")

func (p *Process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.aliveLocked() {
		return fmt.Errorf("send %v to %s: %w", s, p.Name, errNotRunning)
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("send %v to %s: %w", s, p.Name, err)
	}
	return nil
}
