//go:build linux

package inboxes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"time"
)

// Crowds are the processes with the connections. Dial, Say and Close are for one goroutine.
type Crowds struct {
	all    []*process
	dialed int
}

// process is a crowd as the program sees it that started it.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	orders *json.Encoder
	done   chan struct{} // closed when it says no more

	mu     sync.Mutex // guards what follows
	status Status
	events []Event
}

// Start starts a crowd for each of the gateways, by this program with Command as its argument. pending is how many handshakes may be under way
// at once, of all; inbox tells whether the users ask for their inboxes.
func Start(ctx context.Context, gateways []netip.AddrPort, pending int, inbox bool) (*Crowds, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cs := &Crowds{}
	for _, address := range gateways {
		p, err := start(ctx, self, about{Address: address, Pending: max(1, pending/len(gateways)), Inbox: inbox})
		if err != nil {
			cs.Close()
			return nil, fmt.Errorf("start a crowd: %w", err)
		}
		cs.all = append(cs.all, p)
	}
	return cs, nil
}

func start(ctx context.Context, self string, a about) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, self, Command), done: make(chan struct{})}
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		lines := json.NewDecoder(out)
		for {
			var t told
			if lines.Decode(&t) != nil {
				return
			}
			p.mu.Lock()
			p.status = t.Status
			p.events = append(p.events, t.Events...)
			p.mu.Unlock()
		}
	}()
	p.orders = json.NewEncoder(p.in)
	return p, p.orders.Encode(a)
}

// PIDs are the processes of the crowds.
func (cs *Crowds) PIDs() (all []int) {
	for _, p := range cs.all {
		all = append(all, p.cmd.Process.Pid)
	}
	return all
}

// endPatience is how long a crowd may take to drop its connections.
const endPatience = 30 * time.Second

// Close ends all crowds and waits for them.
func (cs *Crowds) Close() {
	var all sync.WaitGroup
	for _, p := range cs.all {
		all.Go(func() {
			_ = p.in.Close()
			late := time.AfterFunc(endPatience, func() { _ = p.cmd.Process.Kill() })
			defer late.Stop()
			<-p.done
			_ = p.cmd.Wait()
		})
	}
	all.Wait()
}

// errEnded tells that a crowd has ended by itself.
var errEnded = errors.New("a part of the load generator has ended")

// Dial connects the next users, whose tokens these are.
func (cs *Crowds) Dial(tokens []string) error {
	parts := make([][]string, len(cs.all))
	for _, token := range tokens {
		n := cs.dialed % len(cs.all)
		parts[n] = append(parts[n], token)
		cs.dialed++
	}
	for i, part := range parts {
		if err := cs.all[i].orders.Encode(order{Dial: part}); err != nil {
			return fmt.Errorf("%w: %w", errEnded, err)
		}
	}
	return nil
}

// Say has a user say something in a room; id is that of the ack.
func (cs *Crowds) Say(id int64, user int, room string) error {
	p := cs.all[user%len(cs.all)]
	if err := p.orders.Encode(order{Say: &say{ID: id, Conn: user / len(cs.all), Room: room}}); err != nil {
		return fmt.Errorf("%w: %w", errEnded, err)
	}
	return nil
}

// Status is what all crowds have told last.
func (cs *Crowds) Status() (sum Status, err error) {
	for _, p := range cs.all {
		p.mu.Lock()
		s := p.status
		p.mu.Unlock()
		sum.Open += s.Open
		sum.States += s.States
		sum.Rooms += s.Rooms
		sum.Again += s.Again
		sum.Lost += s.Lost
		if s.Problem != "" {
			sum.Problem = s.Problem
		}
		select {
		case <-p.done:
			err = errEnded
		default:
		}
	}
	return sum, err
}

// Events are those since the last call, of each crowd in order.
func (cs *Crowds) Events() (all []Event) {
	for i, p := range cs.all {
		p.mu.Lock()
		events := p.events
		p.events = nil
		p.mu.Unlock()
		for _, e := range events {
			e.User = e.User*len(cs.all) + i
			all = append(all, e)
		}
	}
	return all
}
