// Package servicetest proves by a test what a further service costs: one Config and one Run, made of the shared parts.
package servicetest
