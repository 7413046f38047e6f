//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/inboxes"
	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/internal/launch"
	"github.com/starling-chat/starling/test/internal/proc"
)

// inbox connects many users who have an inbox and join no room, and measures what that takes of gateways and NATS. Then something is said in
// rooms of theirs, and it measures when the other members are told. Without rooms the same users have no inbox: what remains to be compared with.
func (b *Bench) inbox(ctx context.Context, r *report.Result) error {
	l := inboxLayout{run: b.Run, users: b.InboxUsers, each: b.InboxRooms}
	if err := b.fillInboxes(ctx, l); err != nil {
		return err
	}
	return b.inboxesOf(ctx, r, l)
}

// inboxRun is one run of inbox.
type inboxRun struct {
	*Bench
	layout inboxLayout
	crowds *inboxes.Crowds
	result *report.Result
}

// inboxesOf is inbox, once the rooms are there.
func (b *Bench) inboxesOf(ctx context.Context, r *report.Result, l inboxLayout) error {
	// A crowd ends with its orders, which Close ends.
	cs, err := inboxes.Start(context.WithoutCancel(ctx), b.System.Addresses, b.Pending, l.each > 0)
	if err != nil {
		return err
	}
	defer cs.Close()
	b.generators = cs.PIDs()
	run := &inboxRun{b, l, cs, r}
	if err := run.everybody(ctx); err != nil {
		return err
	}
	if l.each > 0 {
		if err := run.messages(ctx); err != nil {
			return err
		}
	}
	return run.end()
}

// everybody connects all users, and reports what that took.
func (i *inboxRun) everybody(ctx context.Context) error {
	r, users, each := i.result, i.layout.users, i.layout.each
	quiet := func() string { return "waiting for quiet" }
	nobody, err := i.natsState(ctx)
	if err != nil {
		return err
	}
	warm := min(warmConns, users/2)
	if _, _, err := i.connect(ctx, 0, warm); err != nil {
		return err
	}
	before, _, err := i.stableRSS(ctx, quiet)
	if err != nil {
		return err
	}
	from := i.usage()
	connected, filled, err := i.connect(ctx, warm, users-warm)
	if err != nil {
		return err
	}
	to := i.usage()
	peak, _ := i.rss()
	after, _, err := i.stableRSS(ctx, quiet)
	if err != nil {
		return err
	}
	grown := float64(after-before) / float64(users-warm)
	r.Add("users", "", float64(users), report.Neutral)
	r.Add("rooms in each inbox", "", float64(each), report.Neutral)
	r.Add("gateways", "", float64(len(i.System.Addresses)), report.Neutral)
	r.Add("connects", "1/s", float64(users-warm)/connected.Seconds(), report.Neutral)
	if each > 0 {
		r.Add("all inboxes are told after", "s", filled.Seconds(), report.Lower)
	}
	_, all := i.serverCPU(from, to)
	r.Add("connecting: CPU of everything a user", "ms", millis(all)/float64(users-warm), report.Lower)
	i.addCPU(r, "connecting: ", from, to)
	r.Add("gateways' RSS before", "MiB", mebibytes(before), report.Neutral)
	r.Add("gateways' RSS when all were connected", "MiB", mebibytes(peak), report.Neutral)
	r.Add("gateways' RSS after collections", "MiB", mebibytes(after), report.Lower)
	r.Add("gateways' RSS a user", "bytes", grown, report.Lower)
	if each > 0 {
		r.Add("gateways' RSS a room of a user, with the connection", "bytes", grown/float64(each), report.Lower)
	}
	return i.addOthersMemory(ctx, r, nobody)
}

// connect brings in n users from a number on. It waits until they are connected, and until they have got their inboxes.
func (i *inboxRun) connect(ctx context.Context, from, n int) (connected, filled time.Duration, err error) {
	tokens := make([]string, n)
	for k := range tokens {
		if tokens[k], err = i.token(from + k); err != nil {
			return 0, 0, err
		}
	}
	start, want := time.Now(), int64(from+n)
	if err := i.crowds.Dial(tokens); err != nil {
		return 0, 0, err
	}
	var s inboxes.Status
	var ended error
	err = i.until(ctx, 2*time.Minute+time.Duration(n)*20*time.Millisecond,
		func() string { return fmt.Sprintf("%d of %d connected, %d have their inbox", s.Open, want, s.States) },
		func() bool {
			s, ended = i.crowds.Status()
			if connected == 0 && s.Open >= want {
				connected = time.Since(start)
			}
			return s.Open >= want && (i.layout.each == 0 || s.States >= want) || s.Lost > 0 || ended != nil
		})
	if err == nil && s.Lost > 0 {
		err = fmt.Errorf("%d connections were lost or did not come about: %s", s.Lost, s.Problem)
	}
	return connected, time.Since(start), errors.Join(err, ended)
}

// memory is the resident memory of the processes of a role.
func (b *Bench) memory(role string) (bytes int64) {
	for _, r := range b.System.Roles {
		for _, pid := range r.PIDs {
			if r.Name == role {
				bytes += proc.Memory(pid, proc.Resident)
			}
		}
	}
	return bytes
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// natsState is what NATS holds.
type natsState struct {
	resident      int64 // bytes
	subscriptions int64 // of all who are connected to it
}

func (b *Bench) natsState(ctx context.Context) (s natsState, err error) {
	if b.System.NATS == "" {
		return s, nil
	}
	var page struct{ Subscriptions int64 }
	if err := launch.Get(ctx, "http://"+b.System.NATS+"/varz", &page); err != nil {
		return s, fmt.Errorf("ask NATS about itself: %w", err)
	}
	return natsState{b.memory("nats"), page.Subscriptions}, nil
}

// addOthersMemory adds what NATS holds, and held when nobody was connected, and what the services hold.
func (b *Bench) addOthersMemory(ctx context.Context, r *report.Result, nobody natsState) error {
	now, err := b.natsState(ctx)
	if err != nil {
		return err
	}
	r.Add("RSS of NATS, nobody connected", "MiB", mebibytes(nobody.resident), report.Neutral)
	r.Add("RSS of NATS", "MiB", mebibytes(now.resident), report.Lower)
	r.Add("subscriptions in NATS, nobody connected", "", float64(nobody.subscriptions), report.Neutral)
	r.Add("subscriptions in NATS", "", float64(now.subscriptions), report.Lower)
	for _, role := range b.System.Roles {
		if !role.Server && !role.Tree && role.Name != "nats" {
			r.Add("RSS of "+role.Name, "MiB", mebibytes(b.memory(role.Name)), report.Neutral)
		}
	}
	return nil
}

// messages has members say something in rooms, at a steady rate, and waits until the others have been told of everything, or cannot any more.
func (i *inboxRun) messages(ctx context.Context) error {
	t := newTelling()
	i.crowds.Events()
	total := max(1, int64(i.Duration.Seconds()*float64(i.InboxRate)))
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // spreading, not a secret
	start, said, from := time.Now(), int64(0), i.usage()
	var trouble error
	err := i.until(ctx, i.Duration+time.Minute,
		func() string { return fmt.Sprintf("%d of %d messages are said", said, total) },
		func() bool {
			for said < total && trouble == nil && time.Since(start) >= time.Duration(said)*time.Second/time.Duration(i.InboxRate) {
				said++
				trouble = i.say(t, random, said)
			}
			t.take(i.crowds.Events())
			return said == total || trouble != nil
		})
	if err := errors.Join(err, trouble); err != nil {
		return err
	}
	i.addCPU(i.result, "messages: ", from, i.usage())
	err = i.until(ctx, inboxPatience, func() string { return "waiting until everybody is told" }, func() bool {
		t.take(i.crowds.Events())
		return t.complete()
	})
	if err != nil && !errors.Is(err, errPatience) {
		return err
	}
	t.report(i.result)
	return nil
}

// say has one of the members of a room say something.
func (i *inboxRun) say(t *telling, random *rand.Rand, id int64) error {
	turn, room, sender := random.IntN(i.layout.each), random.IntN(i.layout.rooms()), random.IntN(inboxSize)
	members := make([]int, inboxSize)
	for k := range members {
		members[k] = i.layout.member(turn, room, k)
	}
	name := i.layout.room(turn, room)
	t.say(id, name, members, sender)
	return i.crowds.Say(id, members[sender], name)
}

// end checks that everybody was there all the time, with all of the rooms.
func (i *inboxRun) end() error {
	s, err := i.crowds.Status()
	if err != nil {
		return err
	}
	if s.Lost > 0 || s.Open != int64(i.layout.users) {
		i.result.Problem("%d connections are open, want %d: %s", s.Open, i.layout.users, s.Problem)
	}
	if i.layout.each == 0 {
		return nil
	}
	i.result.Add("inboxes that were told again", "", float64(s.Again), report.Lower)
	if want := int64(i.layout.users) * int64(i.layout.each); s.Rooms != want {
		i.result.Problem("%d rooms are in the inboxes, want %d", s.Rooms, want)
	}
	return nil
}
