package auth

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/starling-chat/starling/auth-service/internal/issuers"
)

// gated is a store in which the test decides when an answer goes out that was read before.
type gated struct {
	*memory
	provisions chan struct{}      // Provision waits for one
	answers    chan chan struct{} // States, once it has read, sends a channel and waits until that is closed
}

func (g *gated) Provision(_ context.Context, users []User) ([]User, error) {
	<-g.provisions
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state.User.ID == users[0].ID {
		return make([]User, len(users)), nil
	}
	g.state = State{User: users[0]}
	return users, nil
}

func (g *gated) States(ctx context.Context, whose []Who) ([]State, error) {
	states, err := g.memory.States(ctx, whose)
	release := make(chan struct{})
	g.answers <- release
	<-release
	return states, err
}

// TestProvisionedWhileAnotherAsks: who has just provisioned a user does not take the answer to a question that was asked before it.
// Two tabs of a new user are enough for that, and a refused CONNECT is final for a client.
func TestProvisionedWhileAnotherAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Issuers = accept(t, issuers.Issuer{Provision: true})
		s, memory := newTestService(t, cfg)
		g := &gated{memory: memory, provisions: make(chan struct{}), answers: make(chan chan struct{})}
		s.store = g
		results := make(chan error, 2)
		connect := func() {
			_, err := s.state(t.Context(), verified{issuer: &issuers.Issuer{Provision: true}, userID: "newcomer", name: "New"})
			results <- err
		}
		go connect()
		close(<-g.answers) // the first tab: there is no such user, so it provisions
		synctest.Wait()
		go connect()
		early := <-g.answers // the second tab has read as well that there is none
		g.provisions <- struct{}{}
		go func() {
			for {
				select {
				case release := <-g.answers:
					close(release)
				case g.provisions <- struct{}{}:
				case <-t.Context().Done():
					return
				}
			}
		}()
		synctest.Wait()
		close(early)
		for range 2 {
			if err := <-results; err != nil {
				t.Errorf("state of a user who was just provisioned = %v", err)
			}
		}
	})
}
