package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/platform/certs"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/settings"
)

// Config says which server to use, and as whom.
type Config struct {
	URL      settings.URL // one or several addresses, separated by commas
	Name     string       // of the service: letters, digits, - and _; also names its inboxes, _INBOX_<name>.>
	User     string
	Password settings.Secret
	// OtherPassword is tried in turn with Password, while one replaces the other; "" = none.
	OtherPassword settings.Secret
	CredsFile     string        // path of a credentials file, instead of User and Password
	TLS           *certs.Source // nil: as the URL says
	// IgnoreDiscovered stays with URL even when the servers tell of others, for
	// servers behind a proxy.
	IgnoreDiscovered bool
	InProcess        nats.InProcessConnProvider // used instead of URL where set
	Log              *slog.Logger

	// Of tests: who looks names up, and how long that may take.
	resolver *net.Resolver
	lookUp   time.Duration
}

const (
	dialTimeout     = 2 * time.Second
	reconnectWait   = 500 * time.Millisecond
	reconnectJitter = 500 * time.Millisecond
	pingInterval    = 10 * time.Second
	pingsLost       = 2
	writeTimeout    = 10 * time.Second
	drainTimeout    = 10 * time.Second
)

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Connect returns a connection that may still be connecting, so services start in
// any order. The caller drains or closes it. Connect fails when the configuration
// is wrong or ctx has ended.
func Connect(ctx context.Context, cfg Config) (*nats.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	if !validName.MatchString(cfg.Name) {
		return nil, fmt.Errorf("connect to NATS: name %q is not made of letters, digits, - and _", cfg.Name)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	// What NATS says of an address that it cannot read contains it.
	if err := cfg.URL.Check(); err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", cfg.URL, err)
	}
	life := context.WithoutCancel(ctx)
	options := cfg.options(life)
	if cfg.InProcess == nil {
		d := newDialer(life, cfg)
		defer d.started()
		options = append(options, d.options()...)
	}
	nc, err := nats.Connect(cfg.URL.Reveal(), options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", cfg.URL, err)
	}
	return nc, nil
}

func (cfg Config) options(ctx context.Context) []nats.Option {
	options := []nats.Option{
		nats.Name(cfg.Name),
		nats.CustomInboxPrefix("_INBOX_" + cfg.Name),
		nats.Timeout(dialTimeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.ReconnectBufSize(-1),   // publishing while disconnected fails at once
		nats.IgnoreAuthErrorAbort(), // credentials may be rotated under us
		nats.PermissionErrOnSubscribe(true),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsLost),
		nats.FlusherTimeout(writeTimeout),
		nats.DrainTimeout(drainTimeout),
	}
	connected := func() {}
	switch {
	case cfg.CredsFile != "":
		options = append(options, nats.UserCredentials(cfg.CredsFile))
	case cfg.User != "" && cfg.OtherPassword != "":
		p := newPasswords(cfg)
		options = append(options, nats.UserInfoHandler(p.next))
		connected = p.worked
	case cfg.User != "": // which yields to a user in the URL
		options = append(options, nats.UserInfo(cfg.User, cfg.Password.Reveal()))
	}
	switch {
	case cfg.InProcess != nil:
		options = append(options, nats.InProcessServer(cfg.InProcess))
	case cfg.TLS != nil: // asked at each connection
		options = append(options, nats.ClientTLSConfig(cfg.TLS.Certificate(ctx), cfg.TLS.Roots(ctx)))
	}
	if cfg.IgnoreDiscovered {
		options = append(options, nats.IgnoreDiscoveredServers())
	}
	return append(options, cfg.callbacks(ctx, connected)...)
}

func (cfg Config) callbacks(ctx context.Context, connected func()) []nats.Option {
	log := cfg.Log
	unreached := &obs.Repeats{Log: log, Message: "NATS is not reached"}
	slow := &obs.Repeats{Log: log, Message: "NATS drops messages that were not taken in time"}
	return []nats.Option{
		nats.ConnectHandler(func(nc *nats.Conn) {
			connected()
			unreached.Over(ctx)
			log.LogAttrs(ctx, slog.LevelInfo, "nats connected", slog.String("server", nc.ConnectedServerName()))
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			connected()
			unreached.Over(ctx)
			log.LogAttrs(ctx, slog.LevelInfo, "nats reconnected", slog.String("server", nc.ConnectedServerName()))
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: closed by us
				log.LogAttrs(ctx, slog.LevelWarn, "nats disconnected", slog.Any("error", err))
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if !errors.Is(err, errNotYet) {
				unreached.Failed(ctx, err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			if errors.Is(err, nats.ErrSlowConsumer) { // again and again under load
				slow.Failed(ctx, err, slog.String("subject", subject))
				return
			}
			log.LogAttrs(ctx, slog.LevelWarn, "nats error", slog.String("subject", subject), slog.Any("error", err))
		}),
	}
}

// OnReconnect has f called at every reconnection from now on, after those who asked before. f runs in the connection's callback
// goroutine and must not block. The first connection is no reconnection. Whoever puts a process together calls it, one after
// another.
func OnReconnect(nc *nats.Conn, f func()) {
	before := nc.ReconnectHandler()
	nc.SetReconnectHandler(func(nc *nats.Conn) {
		if before != nil {
			before(nc)
		}
		f()
	})
}

// OnDisconnect has f called whenever the connection is lost from now on, after those who asked before, as OnReconnect does.
func OnDisconnect(nc *nats.Conn, f func()) {
	before := nc.DisconnectErrHandler()
	nc.SetDisconnectErrHandler(func(nc *nats.Conn, err error) {
		if before != nil {
			before(nc, err)
		}
		f()
	})
}

// Ready returns a check that tells why nothing can be sent or received; nil = it can.
func Ready(nc *nats.Conn) func(context.Context) error {
	return func(context.Context) error {
		if !nc.IsConnected() {
			return errors.New("NATS is away")
		}
		return nil
	}
}
