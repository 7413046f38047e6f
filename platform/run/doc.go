// Package run is the life of a process: Main parses the settings, handles the
// signals and chooses the exit code; Group starts the long-lived parts in order
// and stops them in reverse.
//
//	SIGTERM, SIGINT   ctx ends: drain and stop in reverse order
//	a second signal   Hurry's channel closes: waiting windows are cut short
//	a third signal    the process ends at once, as the system does by default
package run
