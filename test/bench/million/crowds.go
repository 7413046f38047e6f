//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/system"
)

// crowdProcess is a crowd as this program sees it.
type crowdProcess struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	orders *json.Encoder
	status atomic.Pointer[status]
	done   chan struct{} // closed when it says no more
	size   int           // connections that it was told to have
}

// crowds are all of them.
type crowds struct {
	all  []*crowdProcess
	most int // connections of each
}

// startCrowds starts a crowd for each gateway; those that have started are returned also with an error.
func startCrowds(ctx context.Context, o *options, s *system.System, run string) (*crowds, error) {
	cs := &crowds{most: o.perProcess}
	self, err := os.Executable()
	if err != nil {
		return cs, fmt.Errorf("find this program: %w", err)
	}
	for i, address := range s.Addresses {
		c, err := startCrowd(ctx, self, about{
			Number: i, Of: len(s.Addresses), Address: address, Secret: s.Secret, Run: run, RoomSize: o.roomSize, Most: o.perProcess,
			Pending: max(1, o.pending/len(s.Addresses)),
		})
		if err != nil {
			return cs, fmt.Errorf("start a crowd: %w", err)
		}
		cs.all = append(cs.all, c)
	}
	return cs, nil
}

func startCrowd(ctx context.Context, self string, a about) (*crowdProcess, error) {
	c := &crowdProcess{cmd: exec.CommandContext(ctx, self, crowdCommand), done: make(chan struct{})}
	c.cmd.Stderr = os.Stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.status.Store(&status{})
	go func() {
		defer close(c.done)
		lines := json.NewDecoder(out)
		for {
			s := new(status)
			if lines.Decode(s) != nil {
				return
			}
			c.status.Store(s)
		}
	}()
	c.orders = json.NewEncoder(c.in)
	return c, c.orders.Encode(a) //nolint:gosec // the secret of a system that lasts as long as the benchmark, to a child by a pipe
}

// endPatience is how long a crowd may take to drop its connections.
const endPatience = 30 * time.Second

// end ends all crowds and waits for them.
func (cs *crowds) end() {
	var all sync.WaitGroup
	for _, c := range cs.all {
		all.Go(func() {
			_ = c.in.Close()
			late := time.AfterFunc(endPatience, func() { _ = c.cmd.Process.Kill() })
			defer late.Stop()
			<-c.done
			_ = c.cmd.Wait()
		})
	}
	all.Wait()
}

// errCrowd tells that a crowd has ended by itself.
var errCrowd = errors.New("a part of the load generator has ended")

// grow has there be n more connections, spread over all, as far as there is room. It gives how many more there are to be.
func (cs *crowds) grow(n int) (told int, err error) {
	for n > told {
		before := told
		for _, c := range cs.all {
			share := min((n-before+len(cs.all)-1)/len(cs.all), cs.most-c.size, n-told)
			if share <= 0 {
				continue
			}
			if err := c.orders.Encode(order{Grow: share}); err != nil {
				return told, fmt.Errorf("%w: %w", errCrowd, err)
			}
			c.size += share
			told += share
		}
		if told == before {
			break // they are full
		}
	}
	return told, nil
}

// storm cuts everybody off.
func (cs *crowds) storm() error {
	for _, c := range cs.all {
		if err := c.orders.Encode(order{Storm: true}); err != nil {
			return fmt.Errorf("%w: %w", errCrowd, err)
		}
	}
	return nil
}

// total is what all crowds have told last; Storms is the least of them.
func (cs *crowds) total() (t status, err error) {
	for i, c := range cs.all {
		s := c.status.Load()
		t.Open += s.Open
		t.Joined += s.Joined
		t.Refused += s.Refused
		t.Lost += s.Lost
		if i == 0 || s.Storms < t.Storms {
			t.Storms = s.Storms
		}
		if s.Problem != "" {
			t.Problem = s.Problem
		}
		select {
		case <-c.done:
			err = errCrowd
		default:
		}
	}
	return t, err
}
