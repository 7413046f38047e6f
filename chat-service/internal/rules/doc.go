// Package rules is the rules of writing: the commands that add to rooms, and what follows them. It is pure: state and commands in, changes
// and outcomes out. It knows no SQL, no NATS and no wire format, starts nothing and waits for nobody.
//
// What follows a command, and which outcome it has, stands in decide.go, moderate.go and batch.go. Who may do what is package access's; the
// use cases, which ask for commands to be written, are package usecases'. A Store brings the state and writes the changes; it decides
// nothing.
package rules
