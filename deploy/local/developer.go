package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway"
	"github.com/starling-chat/starling/platform/settings"
)

// demoAccounts are the demo accounts as the web app offers them: to whoever opens the page, so only where nobody else can, and only
// those whose passwords are in the documentation anyway. Deployed gateways know none.
func (s *system) demoAccounts() []gateway.DemoAccount {
	if s.serving != nil || !onlyThisMachine(s.cfg.Listen) { // others come through a proxy
		return nil
	}
	documented := demoUsers()
	var accounts []gateway.DemoAccount
	for _, user := range s.demo {
		if slices.Contains(documented, user) {
			accounts = append(accounts, gateway.DemoAccount{Username: user.Username, Password: user.Password, Name: user.Name})
		}
	}
	return accounts
}

// restarts ends gateways when the developer drawer asks for it. Each gateway registers how it is ended.
type restarts struct {
	mu  sync.Mutex
	end map[string]context.CancelFunc // by gateway id
}

func (r *restarts) register(id string, end context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end == nil {
		r.end = make(map[string]context.CancelFunc)
	}
	r.end[id] = end
}

// of ends the gateway with that id and tells whether there is one.
func (r *restarts) of(id string) bool {
	r.mu.Lock()
	end := r.end[id]
	delete(r.end, id)
	r.mu.Unlock()
	if end == nil {
		return false
	}
	end()
	return true
}

// developer serves what the web app's developer drawer asks, below /dev/, and is nil where others can reach the system.
func (s *system) developer() http.Handler {
	if s.serving != nil || !onlyThisMachine(s.cfg.Listen) { // others come through a proxy
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /restart-gateway", func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ Gateway string }
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&ask); err != nil {
			http.Error(w, "not JSON", http.StatusBadRequest)
			return
		}
		if !s.restarts.of(ask.Gateway) {
			http.Error(w, "no such gateway", http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.Handle("POST /members", s.crowd)
	return mux
}

// listenAgain is how long a restarted gateway tries to get its address back.
const listenAgain = 10 * time.Second

// runGateway runs a gateway, and again each time that the developer drawer ended it.
func (s *system) runGateway(ctx context.Context, cfg gateway.Config, log *slog.Logger) error {
	address := cfg.Listener.Addr().String()
	for {
		running, end := context.WithCancel(ctx)
		s.restarts.register(cfg.Listen.ID, end)
		err := gateway.Run(running, cfg, log)
		ended := running.Err() != nil && ctx.Err() == nil
		end()
		if !ended {
			return err
		}
		log.InfoContext(ctx, "the developer drawer restarts the gateway", slog.String("gateway", cfg.Listen.ID))
		if cfg.Listener, err = again(ctx, "LISTEN", address); err != nil {
			return err
		}
		if cfg.Obs.Listener != nil {
			if cfg.Obs.Listener, err = again(ctx, "ADMIN", cfg.Obs.Listener.Addr().String()); err != nil {
				return err
			}
		}
	}
}

// again listens at an address that has just been given up.
func again(ctx context.Context, setting, address string) (net.Listener, error) {
	limited, cancel := context.WithTimeout(ctx, listenAgain)
	defer cancel()
	var listener net.Listener
	var err error
	waited := poll(limited, func() bool {
		listener, err = settings.Listen(ctx, setting, address)
		return err == nil
	})
	if waited != nil && err != nil {
		return nil, err
	}
	return listener, nil
}
