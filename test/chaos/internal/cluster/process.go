package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is one child that can be ended and started again at will.
type Process struct {
	Name string

	path string
	args []string
	env  []string
	log  string // path; all incarnations write to it

	mu   sync.Mutex
	cmd  *exec.Cmd     // guarded by mu; nil before the first start
	done chan struct{} // guarded by mu; of cmd, closed when it has ended
	want bool          // guarded by mu; it should be running
}

// Start starts the process unless it runs.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.want = true
	if p.alive() {
		return nil
	}
	log, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.Name, err)
	}
	defer func() { _ = log.Close() }()     // the child has its own copy
	cmd := exec.Command(p.path, p.args...) //nolint:gosec,noctx // our own programs; Stop ends them
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A process group of its own keeps Ctrl-C from it: the rig stops it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error), make(chan struct{})
	go func() {
		// The kernel watches the thread that started the child, not the process, so the thread stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
			close(done)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.cmd, p.done = cmd, done
	return nil
}

// alive needs mu.
func (p *Process) alive() bool {
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

// PID is the process id, 0 while it does not run.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		return 0
	}
	return p.cmd.Process.Pid
}

// Crashed reports that the process ended though nobody asked it to.
func (p *Process) Crashed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.want && !p.alive()
}

// Kill is kill -9; it returns when the process is gone.
func (p *Process) Kill() {
	p.mu.Lock()
	p.want = false
	cmd, done, alive := p.cmd, p.done, p.alive()
	p.mu.Unlock()
	if !alive {
		return
	}
	_ = cmd.Process.Kill()
	<-done
}

// Terminate is SIGTERM; it returns when the process is gone, and kills it when ctx ends first, which is an error.
func (p *Process) Terminate(ctx context.Context) error {
	p.mu.Lock()
	p.want = false
	cmd, done, alive := p.cmd, p.done, p.alive()
	p.mu.Unlock()
	if !alive {
		return nil
	}
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
		// A NATS server says 1 after SIGTERM.
		if state := cmd.ProcessState; !state.Success() && !strings.HasPrefix(p.Name, "nats-") {
			return fmt.Errorf("%s ended after SIGTERM with %v", p.Name, state)
		}
		return nil
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		<-done
		return fmt.Errorf("%s did not end after SIGTERM: %w", p.Name, ctx.Err())
	}
}

// Pause is SIGSTOP.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume is SIGCONT.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

var errNotRunning = errors.New("it does not run")

func (p *Process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		return fmt.Errorf("send %v to %s: %w", s, p.Name, errNotRunning)
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("send %v to %s: %w", s, p.Name, err)
	}
	return nil
}

// poll calls ready until it returns true; the error is ctx's.
func poll(ctx context.Context, every time.Duration, ready func() bool) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for !ready() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
