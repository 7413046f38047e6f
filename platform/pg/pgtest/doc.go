// Package pgtest gives each test a fresh PostgreSQL database, cloned from a
// template that the migrations made once.
//
// The server is started by the first test of a process that needs it and quits
// with the process, even when that panics. Its directory,
// starling-pgtest-<uid>/<n> in the system's temporary directory, is reused by
// later processes, as are the templates, so that a run starts within tenths of a
// second. fsync is off; the directory may be removed at any time no test runs.
package pgtest
