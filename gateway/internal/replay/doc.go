// Package replay puts the durable events of a room back in sequence: it drops repeats, holds back what came early and
// tells which events are missing, so that package relay can fetch them. It does no I/O and has one owner at a time.
//
//	… → bus → replay/hub → transport
package replay
