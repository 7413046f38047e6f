// Package commands is what operators call in a shell, in a process of its own beside the running service: commands for users and API
// keys. They go through the services that REST goes through, on the same database, so what a command takes away is closed on every
// gateway by the same revocation.
//
// Secrets are read from the terminal or standard input and written to standard output, once; no argument, log or error has one.
package commands
