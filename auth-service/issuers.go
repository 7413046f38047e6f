package authservice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/auth-service/internal/issuers"
	"github.com/starling-chat/starling/auth-service/internal/jwks"
)

// tokenIssuer is one element of TOKEN_ISSUERS.
type tokenIssuer struct {
	Issuer     string       `json:"issuer"`
	Audience   oneOrMore    `json:"audience"`
	Algorithms []string     `json:"algorithms"`
	Secret     string       `json:"secret"`
	Keys       string       `json:"jwksUrl"`
	Discovery  string       `json:"discoveryUrl"`
	Claims     issuerClaims `json:"claims"`
	AdminRole  string       `json:"adminRole"`
	UserPrefix string       `json:"userPrefix"`
	Shares     bool         `json:"shareUsers"`
	Provision  *bool        `json:"provision"`
}

type issuerClaims struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Picture string `json:"picture"`
	Role    string `json:"role"`
	Rooms   string `json:"rooms"`
}

// oneOrMore is text or a list of it.
type oneOrMore []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *oneOrMore) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*l = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(l))
}

// maxIssuers bounds TOKEN_ISSUERS.
const maxIssuers = 50

// tokenIssuers reads TOKEN_ISSUERS. No error repeats the text, which may hold a secret.
func (e *External) tokenIssuers() ([]tokenIssuer, error) {
	text := strings.TrimSpace(e.Issuers.Reveal())
	if text == "" {
		return nil, nil
	}
	if strings.HasPrefix(text, "{") {
		text = "[" + text + "]"
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	var list []tokenIssuer
	err := decoder.Decode(&list)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("no JSON from byte %d on", syntax.Offset)
	case errors.As(err, &kind):
		return nil, fmt.Errorf("%s cannot be a JSON %s", kind.Field, kind.Value)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("the JSON does not end")
	case err != nil:
		return nil, err // an unknown field, by its name
	case decoder.Decode(new(json.RawMessage)) != io.EOF:
		return nil, errors.New("there is something after the list")
	case len(list) > maxIssuers:
		return nil, fmt.Errorf("more than %d issuers", maxIssuers)
	}
	for i := range list {
		if err := list[i].check(); err != nil {
			return nil, fmt.Errorf("issuer %d: %w", i+1, err)
		}
	}
	return list, nil
}

func (t *tokenIssuer) check() error {
	switch {
	case t.Issuer == "":
		return errors.New(`"issuer" is missing`)
	case t.Secret != "" && len(t.Secret) < minJWTSecret:
		return fmt.Errorf("the secret must have at least %d bytes", minJWTSecret)
	case t.Secret != "" && (t.Keys != "" || t.Discovery != ""):
		return errors.New(`it has either a "secret" or keys`)
	case slices.Contains(t.Audience, ""):
		return errors.New("an audience is empty")
	case t.Keys != "" && t.Discovery != "":
		return errors.New(`it has either a "jwksUrl" or a "discoveryUrl"`)
	}
	for name, address := range map[string]string{"jwksUrl": t.Keys, "discoveryUrl": t.Discovery} {
		if address == "" {
			continue
		}
		if err := jwks.CheckURL(address); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if t.Secret == "" && t.Keys == "" && t.Discovery == "" {
		if err := jwks.CheckURL(t.Issuer); err != nil {
			return errors.New("the issuer is no address, so it needs a \"jwksUrl\", a \"discoveryUrl\" or a \"secret\"")
		}
	}
	if len(t.Algorithms) > 0 {
		return nil
	}
	t.Algorithms = []string{issuers.RS256, issuers.ES256, issuers.EdDSA}
	if t.Secret != "" {
		t.Algorithms = []string{issuers.HS256}
	}
	return nil
}

// form gives an issuer the form that package issuers takes.
func (t *tokenIssuer) form(provision bool) issuers.Issuer {
	if t.Provision != nil {
		provision = *t.Provision
	}
	return issuers.Issuer{
		Name: t.Issuer, Audiences: t.Audience, Algorithms: t.Algorithms, Secret: t.Secret, RequireExp: true,
		Claims: issuers.Claims(t.Claims), AdminRole: t.AdminRole, UserPrefix: t.UserPrefix, SharesUsers: t.Shares, Provision: provision,
	}
}

// short is the issuer of JWT_SECRET.
func (e *External) short() issuers.Issuer {
	short := issuers.Issuer{
		Name: e.Issuer, Algorithms: []string{issuers.HS256}, Secret: e.Secret.Reveal(), OtherSecret: e.Other.Reveal(), RequireExp: e.RequireExp,
		SharesUsers: true, Provision: e.Provision,
	}
	if e.Audience != "" {
		short.Audiences = []string{e.Audience}
	}
	return short
}

// checkIssuers tells what is wrong with the issuers, and whether they fit together.
func (c *Config) checkIssuers() error {
	list, err := c.External.tokenIssuers()
	if err != nil {
		return err
	}
	for _, t := range list {
		if t.Issuer == c.Tokens.Issuer {
			return errors.New("an issuer has the name of our own tokens' (TOKEN_ISSUER)")
		}
	}
	_, err = c.set(list, nil)
	return err
}

// set makes the set of all issuers; keysOf tells where the keys of those without a secret come from.
func (c *Config) set(list []tokenIssuer, keysOf func(tokenIssuer) issuers.Keys) (*issuers.Set, error) {
	var all []issuers.Issuer
	if c.External.Secret != "" {
		all = append(all, c.External.short())
	}
	for _, t := range list {
		issuer := t.form(c.External.Provision)
		if t.Secret == "" && keysOf != nil {
			issuer.Keys = keysOf(t)
		}
		all = append(all, issuer)
	}
	return issuers.New(all, c.Tokens.Leeway)
}

// issuers makes the set of all issuers, and the sources of their keys, which have to be run. It registers
// starling_auth_issuer_key_reads_total{issuer,result}.
func (c *Config) issuers(ctx context.Context, registry prometheus.Registerer, log *slog.Logger) (*issuers.Set, []*jwks.Source, error) {
	list, err := c.External.tokenIssuers()
	if err != nil {
		return nil, nil, err
	}
	reads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "starling", Subsystem: "auth", Name: "issuer_key_reads_total",
		Help: "Attempts to read the public keys of a token issuer, by result: ok or failed.",
	}, []string{"issuer", "result"})
	registry.MustRegister(reads)
	for _, t := range list {
		if t.Secret == "" { // from 0 on: the first increment of a series that appears with it is no increase
			reads.WithLabelValues(t.Issuer, "ok")
			reads.WithLabelValues(t.Issuer, "failed")
		}
	}
	count := func(issuer string, err error) {
		result := "ok"
		if err != nil {
			result = "failed"
		}
		reads.WithLabelValues(issuer, result).Inc()
	}
	var sources []*jwks.Source
	set, err := c.set(list, func(t tokenIssuer) issuers.Keys {
		for _, address := range []string{t.Keys, t.Discovery, t.Issuer} {
			if strings.HasPrefix(address, "http:") {
				log.LogAttrs(ctx, slog.LevelWarn, "keys of a token issuer are read without TLS: who is in between can make tokens",
					slog.String("issuer", t.Issuer), slog.String("address", address))
			}
			if address != "" {
				break
			}
		}
		source := jwks.New(ctx, jwks.Config{
			Issuer: t.Issuer, URL: t.Keys, Discovery: t.Discovery, Refresh: c.External.KeysRefresh, Read: count, Log: log,
		})
		sources = append(sources, source)
		return source
	})
	return set, sources, err
}
