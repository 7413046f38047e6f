// Package sequence puts the durable events of a room back in sequence: it drops repeats, holds back what came early and
// tells which events are missing, so that package roomfeed can fetch them. It does no I/O and has one owner at a time.
//
//	… → bus → sequence/hub → transport
package sequence
