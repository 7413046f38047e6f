// Package events holds the contract of client events, in both directions: the source (source), and what comes from it (gen). `make contract`
// generates it (deploy/contract); CONTRIBUTING.md says how an event is added.
package events

import (
	_ "embed" // for the generated files
	"encoding/json"
)

// AsyncAPI is the AsyncAPI 3 document.
//
//go:embed gen/asyncapi.json
var AsyncAPI []byte

// TypeScript is the types for the plain socket.io-client.
//
//go:embed gen/starling.d.ts
var TypeScript []byte

// JSON is the contract for programs: every event with its schemas.
//
//go:embed gen/contract.json
var JSON []byte

// Contract is the part of JSON that is about who answers what.
type Contract struct {
	Namespaces    []struct{ Name string }
	ConnectErrors []struct{ Code, Message string }
	Codes         []struct{ Code string }
	Reasons       []struct{ Reason, Code string }
	ClientEvents  []ClientEvent
	ServerEvents  []ServerEvent
}

// ClientEvent is an event that clients emit.
type ClientEvent struct {
	Event      string
	Namespaces []string
	By         string // who answers: chat-service, presence-service or gateway
	Repeat     string // always, never, or by what a repeat is known
	Key        bool   // the argument may have a key
}

// ServerEvent is an event that clients get.
type ServerEvent struct {
	Event      string
	Namespaces []string
	Log        string // in whose sequence it is: a room's, a user's, or none
}

// Read reads JSON.
func Read() (Contract, error) {
	var c Contract
	err := json.Unmarshal(JSON, &c)
	return c, err
}

// AnsweredBy lists the events that clients emit and one part of Starling answers.
func (c Contract) AnsweredBy(part string) []ClientEvent {
	var list []ClientEvent
	for _, e := range c.ClientEvents {
		if e.By == part {
			list = append(list, e)
		}
	}
	return list
}
