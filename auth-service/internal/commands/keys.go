package commands

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/apikeys"
	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/auth-service/internal/users"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/isotime"
)

type keyCommands struct {
	List listKeys  `cmd:"" help:"List API keys by name; a key itself is never shown again."`
	Add  addKey    `cmd:"" help:"Make an API key, and print it, once."`
	Rm   removeKey `cmd:"" help:"Remove an API key."`
}

// key is what REST shows of an API key.
type key struct {
	Name      string   `json:"name"`
	Scopes    []string `json:"scopes"`
	CreatedAt string   `json:"createdAt"`
	ExpiresAt string   `json:"expiresAt,omitempty"`
	UsedAt    string   `json:"usedAt,omitempty"`
}

func keyOf(k apikeys.Key) key {
	about := key{Name: k.Name, Scopes: k.Scopes, CreatedAt: isotime.Format(k.CreatedAt)}
	if !k.Expires.IsZero() {
		about.ExpiresAt = isotime.Format(k.Expires)
	}
	if !k.UsedAt.IsZero() {
		about.UsedAt = isotime.Format(k.UsedAt)
	}
	return about
}

type listKeys struct{ page }

// Run prints a page of keys.
func (c *listKeys) Run(ctx context.Context, o *Operator) error {
	if c.Limit < 1 || c.Limit > users.MaxListed {
		return fault.Newf(fault.Invalid, "limit must be 1 to %d", users.MaxListed)
	}
	all, err := o.Keys.List(ctx)
	if err != nil {
		return err
	}
	// The order is the database's: who is behind is found by place, not by comparing.
	if c.After != "" {
		i := slices.IndexFunc(all, func(k apikeys.Key) bool { return k.Name == c.After })
		if i < 0 {
			return fault.Newf(fault.NotFound, "There is no API key %q to begin behind", c.After)
		}
		all = all[i+1:]
	}
	answer := struct {
		Keys []key  `json:"keys"`
		Next string `json:"next,omitempty"`
	}{Keys: []key{}}
	if len(all) > c.Limit {
		all = all[:c.Limit]
		answer.Next = all[c.Limit-1].Name
	}
	var rows [][]string
	for _, k := range all {
		about := keyOf(k)
		answer.Keys = append(answer.Keys, about)
		rows = append(rows, []string{k.Name, strings.Join(k.Scopes, ","), about.CreatedAt, orDash(about.ExpiresAt), orDash(about.UsedAt)})
	}
	err = o.answer(answer, table([]string{"NAME", "SCOPES", "CREATED", "EXPIRES", "USED"}, rows))
	if answer.Next != "" && !o.JSON {
		o.remark("The next page: --after=%q", answer.Next)
	}
	return err
}

type addKey struct {
	Name    string   `arg:"" help:"Name, of 1 to 64 printable characters."`
	Scopes  []string `name:"scopes" required:"" help:"What it may do, separated by commas."`
	Expires string   `name:"expires" help:"When it ends: a time such as 2030-01-31T12:00:00Z, or a duration from now such as 720h; never unless given."`
}

// Help names the scopes that there are.
func (c *addKey) Help() string {
	return "Scopes: " + strings.Join(caller.AllScopes(), ", ") + "."
}

// Run makes the key. Standard output gets the key alone, so that a script can take it.
func (c *addKey) Run(ctx context.Context, o *Operator) error {
	expires, err := c.expires()
	if err != nil {
		return err
	}
	secret, made, err := o.Keys.Add(ctx, auth.APIKey{Name: c.Name, Scopes: c.Scopes, Expires: expires}, caller.AllScopes(), auth.By{})
	if err != nil {
		return err
	}
	if !o.JSON {
		o.remark("Made the API key %q. It is not shown again:", made.Name)
	}
	return o.answer(struct {
		Key   string `json:"key"`
		About key    `json:"about"`
	}{secret, keyOf(made)}, secret)
}

func (c *addKey) expires() (time.Time, error) {
	if c.Expires == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(c.Expires); err == nil {
		return time.Now().Add(d), nil
	}
	at, err := time.Parse(time.RFC3339, c.Expires)
	if err != nil {
		return at, fault.New(fault.Invalid, "expires must be a time such as 2030-01-31T12:00:00Z, or a duration such as 720h")
	}
	return at, nil
}

type removeKey struct {
	Name string `arg:"" help:"Name of the key."`
}

// Run removes the key.
func (c *removeKey) Run(ctx context.Context, o *Operator) error {
	if err := o.Keys.Remove(ctx, c.Name, auth.By{}); err != nil {
		return err
	}
	return o.answer(struct{}{}, "Removed the API key "+c.Name)
}
