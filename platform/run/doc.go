// Package run is the life of a process: Main parses the settings, handles the
// signals and chooses the exit code; Group runs the long-lived parts and stops them
// in the reverse of the order in which they were added; Pause waits.
//
//	SIGTERM, SIGINT   ctx ends: drain and stop in reverse order
//	a second signal   ForceStop's channel closes: waiting windows are cut short
//	a third signal    the process ends at once, as the system does by default
package run
