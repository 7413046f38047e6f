//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Child is a process that this one started.
type Child struct {
	cmd  *exec.Cmd
	name string
	done chan struct{}
	err  error // of Wait; read it after done
}

// Spec says what to start.
type Spec struct {
	Name   string
	Path   string
	Args   []string
	Dir    string
	Env    []string // added to this process's
	Output io.Writer
}

// Start starts a child that is told to end when this process dies. Ctrl-C does not reach it: its owner stops it.
func Start(spec Spec) (*Child, error) {
	cmd := exec.Command(spec.Path, spec.Args...) //nolint:gosec,noctx // our own programs; Stop ends them in order
	cmd.Dir, cmd.Stdout, cmd.Stderr = spec.Dir, spec.Output, spec.Output
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	c := &Child{cmd: cmd, name: spec.Name, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = cmd.Wait()
	}()
	return c, nil
}

// PID is the child's process id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Ended tells why the child is not running any more, nil while it is.
func (c *Child) Ended() error {
	select {
	case <-c.done:
		return fmt.Errorf("%s has ended: %w", c.name, errors.Join(c.err, errEnded))
	default:
		return nil
	}
}

var errEnded = errors.New("it should be running")

// Stop asks the child to end and kills it when ctx ends first; it returns when the child is gone.
func (c *Child) Stop(ctx context.Context) {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-ctx.Done():
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// Await calls ready every 100 ms until it returns nil; the error is that of a child that ended, or ready's when ctx ends.
func Await(ctx context.Context, ready func(context.Context) error, children ...*Child) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		for _, c := range children {
			if ended := c.Ended(); ended != nil {
				return ended
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
