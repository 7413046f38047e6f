// Package typing knows who is typing where, and tells rooms and the other replicas of it. It is pure: it publishes and gossips by functions that it
// is given.
package typing
