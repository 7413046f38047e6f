// Package services knows what the services say: which client events they answer, and what several replies to one request add up
// to. It does no I/O.
package services
