// Package nemesis disturbs a cluster by a plan that follows from a seed alone, so that the plan can be shown before the run and
// repeated after it.
//
// A deck holds the actions of one nemesis, shuffled; rounds of all nemeses, shuffled too, draw from their decks, so that every
// nemesis comes up before one comes up again, and every action before one is repeated. Faults may overlap in pairs. No plan
// takes both copies of a service at once, except through the NATS majority and PostgreSQL, which the nemesis says so.
package nemesis
