package nemesis

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/cluster"
)

const (
	shortest = 2 * time.Second
	longest  = 5 * time.Second
	// A client that does not read for longer than the ping timeout, 9 s, is gone.
	shortestStall, longestStall = 5 * time.Second, 8 * time.Second
)

// cards are the actions of all nemeses.
func cards(s Shape) map[string][]card {
	return map[string][]card{
		"process":  processCards(s),
		"nats":     natsCards(s),
		"postgres": postgresCards(s),
		"network":  networkCards(s),
		"slow":     slowCards(s),
		"disk":     diskCards(),
		"storm":    {func(*rand.Rand) Step { return Step{Action: "drop every socket", Target: "clients", apply: dropAll} }},
		"time":     {func(*rand.Rand) Step { return Step{Action: "revoke users", Target: "clients", apply: revoke} }},
		"drain": {func(r *rand.Rand) Step {
			step := restart("SIGTERM under load", some(r, s, "gateway"), between(r, 500*time.Millisecond, 2*time.Second))
			step.alone = true
			return step
		}},
	}
}

// some picks a copy of a service.
func some(r *rand.Rand, s Shape, kind string) string {
	return fmt.Sprintf("%s-%d", kind, r.IntN(s.Copies))
}

func node(r *rand.Rand, s Shape) string { return fmt.Sprintf("nats-%d", r.IntN(s.Nodes)) }

func processCards(s Shape) (list []card) {
	kinds := cluster.Kinds()
	for i, kind := range kinds {
		list = append(list,
			func(r *rand.Rand) Step {
				return kill("kill -9", between(r, 500*time.Millisecond, 3*time.Second), some(r, s, kind))
			},
			func(r *rand.Rand) Step {
				target := some(r, s, kind)
				return Step{Action: "SIGSTOP", Target: target, For: between(r, 5*time.Second, s.Longest), touches: []string{target}, apply: pause(target)}
			},
			func(r *rand.Rand) Step {
				return restart("SIGTERM", some(r, s, kind), between(r, 500*time.Millisecond, 3*time.Second))
			},
		)
		for _, other := range kinds[i+1:] {
			list = append(list, func(r *rand.Rand) Step {
				return kill("kill -9 of a pair", between(r, 500*time.Millisecond, 3*time.Second), some(r, s, kind), some(r, s, other))
			})
		}
	}
	return list
}

func natsCards(s Shape) []card {
	list := []card{
		func(r *rand.Rand) Step { return restart("restart", node(r, s), between(r, time.Second, 2*time.Second)) },
		func(r *rand.Rand) Step { return kill("kill -9", between(r, shortest, longest), node(r, s)) },
		func(r *rand.Rand) Step {
			target := node(r, s)
			return Step{Action: "wipe the store", Target: target, For: between(r, time.Second, 3*time.Second), touches: []string{target}, apply: wipe(target)}
		},
	}
	if s.Nodes < 3 {
		return list
	}
	return append(list,
		func(r *rand.Rand) Step {
			return Step{Action: "kill -9 of the leader", Target: "nats", For: between(r, shortest, longest), touches: []string{"nats"}, apply: killLeader}
		},
		func(r *rand.Rand) Step {
			alive := r.IntN(s.Nodes)
			var targets []string
			for i := range s.Nodes {
				if i != alive {
					targets = append(targets, fmt.Sprintf("nats-%d", i))
				}
			}
			return kill("kill -9 of the majority", between(r, shortest, longest), targets...)
		})
}

func postgresCards(s Shape) []card {
	touches := []string{"postgres"}
	list := []card{
		func(r *rand.Rand) Step {
			return Step{Action: "stop immediate", Target: "postgres", For: between(r, shortest, longest), touches: touches, apply: stopPostgres((*cluster.Postgres).StopImmediate)}
		},
		func(r *rand.Rand) Step {
			return Step{Action: "stop fast", Target: "postgres", For: between(r, shortest, longest), touches: touches, apply: stopPostgres((*cluster.Postgres).StopFast)}
		},
		func(*rand.Rand) Step {
			return Step{Action: "terminate all backends", Target: "postgres", touches: touches, apply: terminateBackends}
		},
		func(r *rand.Rand) Step {
			return Step{Action: "exhaust connections", Target: "postgres", For: between(r, shortest, longest), touches: touches, apply: exhaust}
		},
	}
	if !s.Pooler {
		return list
	}
	touching := func(step Step) Step { step.touches = append(step.touches, touches...); return step }
	return append(list,
		func(r *rand.Rand) Step {
			return touching(kill("kill -9", between(r, shortest, longest), cluster.PoolerName))
		},
		func(r *rand.Rand) Step {
			return touching(restart("restart", cluster.PoolerName, between(r, time.Second, 2*time.Second)))
		},
		func(r *rand.Rand) Step {
			return touching(Step{Action: "SIGSTOP", Target: cluster.PoolerName, For: between(r, shortest, longest), apply: pause(cluster.PoolerName)})
		})
}

func networkCards(s Shape) (list []card) {
	links := func(r *rand.Rand) (pattern string, touches []string) {
		switch r.IntN(4) {
		case 0:
			gateway := some(r, s, "gateway")
			return "clients>" + gateway, []string{gateway}
		case 1:
			kinds := cluster.Kinds()
			p := some(r, s, kinds[r.IntN(len(kinds))])
			return p + ">nats-*", []string{p}
		case 2:
			p := some(r, s, cluster.Kinds()[1+r.IntN(3)])
			return p + ">postgres", []string{p}
		default:
			to := some(r, s, cluster.Kinds()[1+r.IntN(3)])
			return some(r, s, "gateway") + ">" + to, []string{to}
		}
	}
	hole := cluster.Toxic{Type: "timeout", Attributes: map[string]any{"timeout": 0}}
	up := hole
	up.Upstream = true
	late := cluster.Toxic{Type: "latency", Attributes: map[string]any{"latency": 300, "jitter": 100}}
	for _, kind := range []struct {
		action string
		toxics []cluster.Toxic
	}{
		{"black hole", []cluster.Toxic{hole, up}},
		{"one-way black hole, requests", []cluster.Toxic{up}},
		{"one-way black hole, answers", []cluster.Toxic{hole}},
		{"latency 300 ± 100 ms", []cluster.Toxic{late}},
	} {
		list = append(list, func(r *rand.Rand) Step {
			pattern, touches := links(r)
			return Step{Action: kind.action, Target: pattern, For: between(r, shortest, longest), touches: touches, apply: disturb(pattern, kind.toxics...)}
		})
	}
	return append(list, func(r *rand.Rand) Step {
		gateway := some(r, s, "gateway")
		slices := cluster.Toxic{Type: "slicer", Share: sliced, Attributes: map[string]any{"average_size": 1, "size_variation": 0, "delay": 0}}
		both := slices
		both.Upstream = true
		return Step{Action: "1-byte slices", Target: "clients>" + gateway, For: between(r, shortest, longest), apply: disturb("clients>"+gateway, slices, both)}
	})
}

// sliced is the share of a gateway's connections that get single bytes: each byte costs the rig a system call.
const sliced = 0.1

func slowCards(s Shape) []card {
	return []card{
		func(r *rand.Rand) Step {
			return Step{Action: "clients stop reading", Target: "clients", For: between(r, shortestStall, longestStall), apply: stall}
		},
		func(r *rand.Rand) Step {
			gateway := some(r, s, "gateway")
			return Step{
				Action: "stall the bus", Target: gateway + ">nats-*", For: between(r, shortest, longest), touches: []string{gateway},
				apply: disturb(gateway+">nats-*", cluster.Toxic{Type: "stall"}),
			}
		},
	}
}

func diskCards() []card {
	return []card{
		func(r *rand.Rand) Step {
			return Step{Action: "no space left", Target: "postgres", For: between(r, shortest, longest), touches: []string{"postgres"}, apply: fillPostgres}
		},
		func(r *rand.Rand) Step {
			return Step{Action: "no space left", Target: "nats-0", For: between(r, shortest, longest), touches: []string{"nats-0"}, apply: fillNATS}
		},
	}
}
