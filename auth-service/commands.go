package authservice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/auth-service/internal/announcer"
	"github.com/starling-chat/starling/auth-service/internal/apikeys"
	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/auth-service/internal/commands"
	"github.com/starling-chat/starling/auth-service/internal/postgres"
	"github.com/starling-chat/starling/auth-service/internal/securitylog"
	"github.com/starling-chat/starling/auth-service/internal/users"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
)

// Exit codes of Command, those of run.Main.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// commandConns is how many connections a command takes of what the service leaves over.
const commandConns = 1

// Commands are the commands of operators, users and keys, with their flags. Who has more flags embeds it.
type Commands = commands.Commands

// Operation is one call of a command.
type Operation struct {
	Program string
	Args    []string // from the command on
	// Parsed is a pointer to Commands, or to a struct that embeds it, and Commands points into it.
	Parsed   any
	Commands *Commands
	// Settings gives those of the service, whose database and bus the command works on; nil reads them from the environment. noBus is
	// for a bus that cannot be reached from outside the service, which then finds by itself what it has to announce.
	Settings func() (cfg Config, noBus bool, err error)

	In       io.Reader
	Out, Err io.Writer
}

// IsCommand tells a command of operators from the settings of the service.
func IsCommand(args []string) bool { return len(args) > 0 && !strings.HasPrefix(args[0], "-") }

// Command runs a command of operators and returns the exit code: 0 when it is done, 1 when it failed, 2 when it was called wrongly.
func Command(ctx context.Context, o Operation) int {
	err := o.run(ctx)
	_, wrong := errors.AsType[*settings.Wrong](err)
	kind := fault.KindOf(err)
	switch {
	case err == nil, errors.Is(err, settings.ErrHelp):
		return exitOK
	case errors.Is(err, context.Canceled):
		_, _ = fmt.Fprintf(o.Err, "%s: interrupted\n", o.Program)
		return exitError
	}
	_, _ = fmt.Fprintf(o.Err, "%s: %s\n", o.Program, said(err))
	if wrong || kind == fault.Invalid || kind == fault.TooLarge {
		return exitUsage
	}
	return exitError
}

// said is what an operator reads of an error: without the kinds of faults, and of those that have a cause that too.
func said(err error) string {
	f, ok := errors.AsType[*fault.Error](err)
	switch {
	case !ok:
		return err.Error()
	case f.Cause != nil:
		return fmt.Sprintf("%s: %v", f.Message, f.Cause)
	}
	return f.Message
}

func (o *Operation) run(ctx context.Context) error {
	about := "Manages users and API keys of a running Starling. The settings are those of auth-service, by their environment variables."
	run, err := settings.ParseCommand(o.Out, o.Program, about, o.Parsed, o.Args)
	switch {
	case errors.Is(err, settings.ErrHelp):
		return err
	case err != nil:
		return fault.Newf(fault.Invalid, "%v (see %s --help)", err, strings.Join(append([]string{o.Program}, commandOf(o.Args)...), " "))
	}
	read := o.Settings
	if read == nil {
		read = environment
	}
	cfg, noBus, err := read()
	if err != nil {
		return err
	}
	cfg.Database.MaxConns = commandConns
	pool, err := pg.Open(ctx, cfg.database())
	if err != nil {
		return err
	}
	defer pool.Close()
	store := postgres.NewStore(pool)
	announcements := &announcements{store: store, cfg: cfg.NATS}
	defer announcements.close()
	operator, err := o.operator(cfg, store, announcements, noBus)
	if err != nil {
		return err
	}
	return run(ctx, operator)
}

// commandOf is the command of which --help is shown: users or keys.
func commandOf(args []string) []string {
	if len(args) > 0 && (args[0] == "users" || args[0] == "keys") {
		return args[:1]
	}
	return []string{"users"}
}

// environment reads the settings of the service, which are there in its container.
func environment() (cfg Config, noBus bool, err error) {
	if err := settings.Parse(name, "", &cfg, nil); err != nil {
		return cfg, false, &settings.Wrong{Setting: "settings of " + name, Err: err}
	}
	return cfg, false, nil
}

// operator puts together what a command works on, as Run does for the service.
func (o *Operation) operator(cfg Config, store *postgres.Store, announcements *announcements, noBus bool) (*commands.Operator, error) {
	level := "warn"
	if o.Commands.Verbose {
		level = "info"
	}
	log, err := obs.NewLogger(o.Err, level, "text")
	if err != nil {
		return nil, err
	}
	discarded := slog.New(slog.DiscardHandler)
	acts := discarded // what is refused the command says itself
	if o.Commands.Verbose {
		acts = log
	}
	if noBus {
		log = discarded // would warn that nothing was announced
	} else {
		announcements.log = log
	}
	events := securitylog.New(prometheus.NewRegistry(), acts)
	service, err := auth.New(cfg.domain(nil), store, announcements, events, log)
	if err != nil {
		return nil, err
	}
	return &commands.Operator{
		Users: users.New(store, service, announcements, events), Keys: apikeys.New(store, caller.AllScopes(), events), Passwords: service,
		In: o.In, Out: o.Out, Err: o.Err, JSON: o.Commands.JSON,
	}, nil
}

var _ auth.Announcer = (*announcements)(nil)

// announcements is the auth.Announcer of one command. It connects when there is something to announce: most commands change nothing.
type announcements struct {
	cfg   bus.Settings
	store *postgres.Store
	log   *slog.Logger // nil: there is no bus that can be reached, and the service finds what it has to announce

	nc *nats.Conn // nil until something was announced
}

var errNoBus = errors.New("the service announces it")

func (a *announcements) announcer(ctx context.Context) (*announcer.Announcer, error) {
	if a.log == nil {
		return nil, errNoBus
	}
	if a.nc == nil {
		nc, err := bus.Connect(ctx, a.cfg.Config(name, a.log))
		if err != nil {
			return nil, err
		}
		a.nc = nc
	}
	return announcer.New(a.nc, a.store, a.log), nil
}

func (a *announcements) close() {
	if a.nc != nil {
		a.nc.Close()
	}
}

// Announce implements auth.Announcer.
func (a *announcements) Announce(ctx context.Context, r auth.Revocation) error {
	to, err := a.announcer(ctx)
	if err != nil {
		return err
	}
	return to.Announce(ctx, r)
}

// AnnounceAndCount implements auth.Announcer.
func (a *announcements) AnnounceAndCount(ctx context.Context, r auth.Revocation) (int, error) {
	to, err := a.announcer(ctx)
	if err != nil {
		return 0, err
	}
	return to.AnnounceAndCount(ctx, r)
}

// AnnounceName implements auth.Announcer. The service announces names that it finds to have changed.
func (a *announcements) AnnounceName(context.Context, auth.User) {}

// AnnounceNames implements users.Announcer, as AnnounceName.
func (a *announcements) AnnounceNames(context.Context, []auth.UserID) {}

// AnnounceGone implements users.Announcer. The service announces deleted users who have not left their rooms.
func (a *announcements) AnnounceGone(context.Context, auth.UserID) {}
