package publisher

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/platform/bus/bustest"
)

// awayOutbox is an outbox without a database.
type awayOutbox struct{ Outbox }

func (awayOutbox) Claim(context.Context, int) ([]chat.Outgoing, error) {
	return nil, errors.New("PostgreSQL does not answer")
}

// TestOutageIsOneLine: the relay looks twice a second; an outage does not fill the log at that pace.
func TestOutageIsOneLine(t *testing.T) {
	var out bytes.Buffer
	p, err := New(bustest.New(t), awayOutbox{}, Config{}, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		p.relay(t.Context())
	}
	// A second line only on a machine that takes ten seconds for this.
	if n := strings.Count(out.String(), "outbox not read"); n < 1 || n > 3 {
		t.Errorf("100 looks at an outbox that is away log %d lines, want one:\n%s", n, &out)
	}
}
