package bus

import (
	"sync"

	"github.com/starling-chat/starling/platform/settings"
)

// passwords gives each attempt to connect a password: the one that was right last, and another one after an attempt that came to
// nothing. So a password can be replaced in the server at any moment.
type passwords struct {
	user string
	all  []settings.Secret

	mu    sync.Mutex // guards what follows
	at    int        // in all
	tried bool       // that one, and nothing was heard of it
}

func newPasswords(cfg Config) *passwords {
	return &passwords{user: cfg.User, all: []settings.Secret{cfg.Password, cfg.OtherPassword}}
}

// next implements nats.UserInfoCB.
func (p *passwords) next() (user, password string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tried {
		p.at = (p.at + 1) % len(p.all)
	}
	p.tried = true
	return p.user, p.all[p.at].Reveal()
}

// worked notes that the server has taken the password.
func (p *passwords) worked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tried = false
}
