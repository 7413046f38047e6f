// Package messages is the part of chat's Store about single messages: how a row is read and changed, and what is done so that nothing is left of
// one that was deleted.
package messages
