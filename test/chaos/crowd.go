package main

import (
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/chaos/internal/load"
)

// crowd is the clients as the nemeses see them.
type crowd struct {
	*load.Load
	users     []history.User
	mu        sync.Mutex
	revocable []int // guarded by mu
}

// revocablePercent of the users may lose their tokens.
const revocablePercent = 3

func (r *rig) crowd() *crowd {
	var h history.History
	r.load.Into(&h)
	c := &crowd{Load: r.load, users: h.Users, revocable: r.load.Revocable()}
	rand.New(rand.NewPCG(r.seed, 1)).Shuffle(len(c.revocable), func(i, j int) { //nolint:gosec // to be repeated
		c.revocable[i], c.revocable[j] = c.revocable[j], c.revocable[i]
	})
	c.revocable = c.revocable[:min(len(c.revocable), max(2, len(h.Users)*revocablePercent/100))]
	return c
}

// Revocable implements nemesis.Crowd.
func (c *crowd) Revocable() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.revocable)
}

// Revoke implements nemesis.Crowd.
func (c *crowd) Revoke(user int, at history.Time) {
	c.mu.Lock()
	c.revocable = slices.DeleteFunc(c.revocable, func(u int) bool { return u == user })
	c.mu.Unlock()
	c.Load.Revoke(user, at)
}

// ID implements nemesis.Crowd.
func (c *crowd) ID(user int) string { return c.users[user].ID }
