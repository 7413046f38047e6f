package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/proto/fault"
)

// cutter carries a Store's connections to PostgreSQL, and cuts them where the outcome of a commit gets lost: after the server
// committed, before it can say so.
type cutter struct {
	mu   sync.Mutex
	lose int // the next commits to lose
}

func (c *cutter) set(lose int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose = lose
}

func (c *cutter) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lose
}

// cuts tells whether the connection ends before these bytes of the server arrive.
func (c *cutter) cuts(answer []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lose == 0 || !bytes.Contains(answer, []byte("COMMIT\x00")) {
		return false
	}
	c.lose--
	return true
}

// newCutter gives a configuration whose connections pass the cutter.
func newCutter(t *testing.T, cfg pg.Config) (*cutter, pg.Config) {
	t.Helper()
	to, err := url.Parse(cfg.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{}
	var links sync.WaitGroup
	t.Cleanup(links.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	server := to.Host
	links.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			links.Go(func() { c.carry(client, server) })
		}
	})
	to.Host = listener.Addr().String()
	cfg.URL = settingsURL(to.String())
	return c, cfg
}

func (c *cutter) carry(client net.Conn, address string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var up sync.WaitGroup
	defer up.Wait()
	up.Go(func() {
		_ = pass(client, server, func([]byte) bool { return false })
		_ = server.Close()
	})
	_ = pass(server, client, c.cuts)
	_ = client.Close()
}

func pass(from, to net.Conn, cut func([]byte) bool) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return err
		}
		if cut(buffer[:n]) {
			return nil
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return err
		}
	}
}

func TestConnectionLostAtCommit(t *testing.T) {
	cut, cfg := newCutter(t, database(t))
	s := open(t, cfg)
	w := writer(t, s, nowhere{})
	cut.set(2)
	if _, err := w.Do(t.Context(), join("r", "ann")); err != nil {
		t.Fatalf("join: %v", err)
	}
	cut.set(2)
	o, err := w.Do(t.Context(), send("r", "ann", "once", ""))
	if err != nil || o.Seq != 2 {
		t.Errorf("send = %+v, %v, want seq 2", o, err)
	}
	cut.set(1)
	first, err := w.Do(t.Context(), send("r", "ann", "once, with an id", "c"))
	if err != nil || first.Seq != 3 {
		t.Errorf("send = %+v, %v, want seq 3", first, err)
	}
	if again, err := w.Do(t.Context(), send("r", "ann", "again", "c")); err != nil || again.Position != first.Position {
		t.Errorf("repeat = %+v, %v, want %+v", again, err, first)
	}
	if cut.left() != 0 {
		t.Errorf("%d commits were not lost", cut.left())
	}
	if head := seqs(t, s, "r"); head != 3 {
		t.Errorf("head = %d, want 3: nothing twice", head)
	}
}

// TestOneByOneAfterAnUnknownOutcome: a transaction of one command knows what the transaction of all of them tried.
func TestOneByOneAfterAnUnknownOutcome(t *testing.T) {
	cut, cfg := newCutter(t, database(t))
	s := open(t, cfg)
	commit(t, s, join("r", "ann"))
	all := s.Prepare([]rules.Command{send("r", "ann", "a", ""), send("r", "ann", "b", "")})
	cut.set(1)
	if _, _, err := all.Commit(t.Context()); !errors.Is(err, usecases.ErrUnknown) {
		t.Fatalf("Commit = %v, want an unknown outcome", err)
	}
	for i, want := range []uint64{2, 3} {
		outcomes, out, err := all.Alone(i).Commit(t.Context())
		if err != nil || outcomes[0].Seq != want || len(out.Events) > 0 {
			t.Errorf("Alone(%d).Commit = %+v, %v, %v, want seq %d and no event", i, outcomes, out, err, want)
		}
	}
	if head := seqs(t, s, "r"); head != 3 {
		t.Errorf("head = %d, want 3: nothing twice", head)
	}
}

// refusing gives the next commits after a lost one to a Store without PostgreSQL.
type refusing struct {
	usecases.Store

	away   usecases.Store
	cut    *cutter
	mu     sync.Mutex
	refuse int
}

func (r *refusing) set(refuse int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = refuse
}

func (r *refusing) Prepare(commands []rules.Command) usecases.Transaction {
	return &refused{Transaction: r.Store.Prepare(commands), away: r.away.Prepare(commands), by: r}
}

type refused struct {
	usecases.Transaction

	away usecases.Transaction
	by   *refusing
}

func (t *refused) Commit(ctx context.Context) ([]rules.Outcome, chat.Outgoing, error) {
	t.by.mu.Lock()
	refuse := t.by.cut.left() == 0 && t.by.refuse > 0
	if refuse {
		t.by.refuse--
	}
	t.by.mu.Unlock()
	if refuse {
		return t.away.Commit(ctx)
	}
	return t.Transaction.Commit(ctx)
}

// TestRefusedAfterAnUnknownOutcome: a commit whose outcome is unknown, and after it the circuit opens, is not answered as one of
// which nothing was done.
func TestRefusedAfterAnUnknownOutcome(t *testing.T) {
	direct := database(t)
	cut, cfg := newCutter(t, direct)
	store, away := open(t, cfg), open(t, withoutPostgres(cfg))
	if _, err := away.Rooms(t.Context(), "ann", usecases.RoomsPage{Limit: 9}); fault.KindOf(err) != fault.Unavailable || away.Ready(t.Context()) == nil {
		t.Fatalf("Rooms without PostgreSQL = %v, Ready %v, want the circuit open", err, away.Ready(t.Context()))
	}
	s := &refusing{Store: store, away: away, cut: cut}
	w := writer(t, s, nowhere{})
	if _, err := w.Do(t.Context(), join("r", "ann")); err != nil {
		t.Fatal(err)
	}
	cut.set(1)
	s.set(3)
	if o, err := w.Do(t.Context(), send("r", "ann", "found again", "")); err != nil || o.Seq != 2 {
		t.Errorf("send whose outcome is found out later = %+v, %v, want seq 2", o, err)
	}
	cut.set(1)
	s.set(1_000_000)
	hasty := runWriter(t, s, nowhere{}, nowhere{}, writerConfig(4*time.Second))
	if _, err := hasty.Do(t.Context(), send("r", "ann", "not found", "")); fault.KindOf(err) != fault.Timeout {
		t.Errorf("send whose outcome stays unknown = %v, want timeout", err)
	}
	s.set(1_000_000) // the first attempt may be the one that the circuit lets try, which is not refused but fails
	var f *fault.Error
	if _, err := w.Do(t.Context(), send("r", "ann", "refused", "")); !errors.As(err, &f) || f.Kind != fault.Unavailable || f.RetryAfter != 500*time.Millisecond {
		t.Errorf("send while the circuit is open = %v, want unavailable for 500 ms", err)
	}
	if head := seqs(t, store, "r"); head != 3 {
		t.Errorf("head = %d, want 3", head)
	}
}
