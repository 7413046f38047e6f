package rpc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/access"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
)

// Caller is a program that may call, and a token by which it is known. A name that occurs twice has two tokens, while one replaces
// the other.
type Caller struct {
	Name  string
	Token settings.Secret
}

const minToken = 16 // bytes

var validCaller = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// parseCallers reads a list of name=token, separated by commas. Its errors contain nothing of the list, which may be a token
// where a name is missing.
func parseCallers(list settings.Secret) ([]Caller, error) {
	var callers []Caller
	names := make(map[settings.Secret]string)
	for i, entry := range strings.Split(list.Reveal(), ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue // between two commas
		}
		name, token, ok := strings.Cut(entry, "=")
		c := Caller{strings.TrimSpace(name), settings.Secret(strings.TrimSpace(token))}
		other, twice := names[c.Token]
		switch {
		case !ok || !validCaller.MatchString(c.Name):
			return nil, fmt.Errorf("entry %d is not name=token, as in gateway=…", i+1)
		case strings.HasPrefix(c.Token.Reveal(), "$("):
			return nil, fmt.Errorf("the token of entry %d is a variable that was not replaced", i+1)
		case len(c.Token) < minToken:
			return nil, fmt.Errorf("the token of entry %d has less than %d bytes", i+1, minToken)
		case twice && other != c.Name:
			return nil, fmt.Errorf("entry %d has the token of another caller", i+1)
		}
		names[c.Token] = c.Name
		callers = append(callers, c)
	}
	if len(callers) == 0 && list != "" {
		return nil, errors.New("there is no entry in it")
	}
	return callers, nil
}

// authorizer knows who may call what of one server.
type authorizer struct {
	shared  settings.Secret // lets in all who know it, to everything
	other   settings.Secret // does so as well, while one replaces the other; "" = none
	callers []Caller        // instead of shared where there are any
	log     *slog.Logger
	refused *prometheus.CounterVec // nil without a registry
	samples *obs.Samplers
}

const refusalInterval = time.Second // between two records of one kind

func newAuthorizer(cfg ServerConfig) *authorizer {
	a := &authorizer{shared: cfg.Token, other: cfg.OtherToken, callers: cfg.Callers, log: cfg.Log, samples: obs.NewSamplers(refusalInterval)}
	if cfg.Registry != nil {
		a.refused = registered(cfg.Registry, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "starling_rpc_refusals_total", Help: "gRPC calls of callers that were not let in, by caller and cause: token, method.",
		}, []string{"caller", "cause"}))
		a.refused.WithLabelValues(nobody, causeToken)
		for _, c := range cfg.Callers {
			a.refused.WithLabelValues(c.Name, causeMethod)
		}
	}
	return a
}

// Who was refused where no token tells, and the causes.
const (
	nobody      = "unknown"
	causeToken  = "token"  // none, or one that nobody has
	causeMethod = "method" // the caller is known and may not call this
)

// authorize refuses who is not known, or may not call the method. The context is what the method gets: of users it tells only
// what a caller says who may speak for them.
func (a *authorizer) authorize(ctx context.Context, method string) (context.Context, error) {
	if len(a.callers) == 0 && a.shared == "" {
		return ctx, nil
	}
	given := strings.Join(metadata.ValueFromIncomingContext(ctx, tokenKey), ",")
	if len(a.callers) == 0 {
		first, second := same(given, a.shared), a.other != "" && same(given, a.other)
		if first || second {
			return ctx, nil
		}
		a.refuse(ctx, nobody, method, causeToken)
		return ctx, fault.NotAService()
	}
	name := ""
	for _, c := range a.callers { // all of them, so that the time tells nothing
		if same(given, c.Token) {
			name = c.Name
		}
	}
	switch {
	case name == "":
		a.refuse(ctx, nobody, method, causeToken)
		return ctx, fault.NotAService()
	case !access.May(name, method):
		a.refuse(ctx, name, method, causeMethod)
		return ctx, fault.NotForCaller(name)
	case !access.ForUsers(name):
		ctx = caller.WithoutIdentity(ctx)
	}
	return ctx, nil
}

func same(given string, token settings.Secret) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(token.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// refuse counts a refusal and logs it, one record a second of a kind.
func (a *authorizer) refuse(ctx context.Context, name, method, cause string) {
	if a.refused != nil {
		a.refused.WithLabelValues(name, cause).Inc()
	}
	skipped, ok := a.samples.Take(name+" "+cause, time.Now())
	if !ok {
		return
	}
	attrs := []slog.Attr{
		slog.String("event", "service_call"), slog.String("result", "refused"), slog.String("cause", cause),
		slog.String("caller", name), slog.String("method", method), slog.Int("skipped", skipped),
	}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		attrs = append(attrs, slog.String("address", p.Addr.String()))
	}
	a.log.LogAttrs(ctx, slog.LevelWarn, "security event", attrs...)
}
