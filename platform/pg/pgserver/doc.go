// Package pgserver runs a private PostgreSQL as a child process: for the
// single-binary chat server, which needs no installed database, and for tests.
//
// Everything lies in one directory, Config.DataDir:
//
//	lock        held (flock) by the process that runs the server
//	password    of the superuser, random, mode 0600
//	data/       the cluster
//	bin/        PostgreSQL itself, only where none was installed
//
// PostgreSQL refuses to run as root. Started by root, the server runs as the
// user that owns data/, else as postgres, else as nobody, and the directory is
// given to that user. Where that user cannot reach the directory because a
// parent is closed, as /root is, the server lives in
// /var/lib/starling/pg-<hash of the path> instead, Server.Dir tells, and a
// log line says so. (Inside the system's temporary directory closed parents are
// made passable instead, mode o+x.)
//
// The server listens on 127.0.0.1 or on a Unix socket only and asks for the
// password. It does not outlive its parent: on Linux the kernel tells it to quit
// when the parent is killed; elsewhere the next Start stops the orphan.
package pgserver
