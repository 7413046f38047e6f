// Package scenario loads a system in one way each and measures it: from the clients' side through package swarm, from the
// server's through /proc. A scenario checks what it receives as well: figures of a system that loses messages mean nothing.
package scenario
