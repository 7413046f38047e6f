// Package obs makes a process observable: the logger, the metrics registry, the
// tracer and the admin listener with health, metrics and profiles.
package obs
