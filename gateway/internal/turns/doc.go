// Package turns has done what is due, a few at a time: what sockets wait for from services, so that a crowd that comes back does not ask
// all at once.
package turns
