// Package roomstate is what a client keeps of a room's messages: a reference for clients in every language, and the measure of the fault rig.
//
// Facts come in any order, and more than once: live, from a recovery, in pages of history and of message:changes. Each has a version. Of
// a message that comes as a whole it is `changed ?? seq`: it is all that has happened to the message up to there. A partial fact changes one
// aspect of a message, and its version is its own seq. A message has three aspects, and each keeps the version that it is of:
//
//	body       what it says, or that it was deleted     message:edited, message:deleted
//	reactions  how many users reacted with which key    message:reactions, message:deleted
//	pin        since when it is pinned                  message:pinned, message:unpinned, message:deleted
//
// A fact replaces an aspect that is of an older version. That is all: the order of facts does not matter, for of each aspect the newest is
// left. A client that gets the events of a room in the order of seq, as Starling delivers them, may keep one version a message.
package roomstate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Fields are the members of a message, by name.
type Fields map[string]json.RawMessage

// Room is what is known of a room's messages. It is used by one goroutine.
type Room struct {
	messages map[string]*entry
	compact  bool // only hashes are kept
}

// entry is what is known of one message.
type entry struct {
	seq    uint64 // 0 = only partial facts have come
	fixed  aspect // what never changes
	body   aspect
	counts aspect
	pin    aspect
	gone   bool // it was deleted
}

type aspect struct {
	version uint64
	fields  Fields // nil in a compact Room
	hash    uint64 // of fields, in a compact Room
}

// set replaces an aspect, unless it is of a newer version.
func (r *Room) set(a *aspect, version uint64, fields Fields) {
	switch {
	case version < a.version:
	case r.compact:
		a.version, a.hash = version, hashOf(fields)
	default:
		a.version, a.fields = version, fields
	}
}

// New returns what is known of a room of which nothing is.
func New() *Room { return &Room{messages: map[string]*entry{}} }

func (r *Room) entry(id string) *entry {
	e := r.messages[id]
	if e == nil {
		e = &entry{}
		r.messages[id] = e
	}
	return e
}

// head is what facts have in common.
type head struct {
	ID        string          `json:"id"`
	MessageID string          `json:"messageId"`
	Seq       uint64          `json:"seq"`
	Changed   uint64          `json:"changed"`
	By        json.RawMessage `json:"by"`
	DeletedAt json.RawMessage `json:"deletedAt"`
	PinnedAt  json.RawMessage `json:"pinnedAt"`
	Counts    json.RawMessage `json:"counts"`
	Message   json.RawMessage `json:"message"`
}

// Apply takes an event with its argument. Events that are not about messages change nothing.
func (r *Room) Apply(event string, argument []byte) error {
	if event == "message:new" {
		return r.Whole(argument)
	}
	switch event {
	case "message:edited", "message:deleted", "message:reactions", "message:pinned", "message:unpinned":
	default:
		return nil
	}
	var h head
	if err := json.Unmarshal(argument, &h); err != nil {
		return fmt.Errorf("read %s: %w", event, err)
	}
	switch event {
	case "message:edited":
		return r.Whole(h.Message)
	case "message:deleted":
		e := r.entry(h.MessageID)
		e.gone = true
		r.set(&e.body, h.Seq, Fields{"content": json.RawMessage(`""`), "deletedAt": h.DeletedAt, "deletedBy": h.By})
		r.set(&e.counts, h.Seq, nil)
		r.set(&e.pin, h.Seq, nil)
	case "message:reactions":
		fields := Fields{"reactions": h.Counts}
		if string(h.Counts) == "[]" {
			fields = nil
		}
		r.set(&r.entry(h.MessageID).counts, h.Seq, fields)
	case "message:pinned":
		r.set(&r.entry(h.MessageID).pin, h.Seq, Fields{"pinnedAt": h.PinnedAt})
	case "message:unpinned":
		r.set(&r.entry(h.MessageID).pin, h.Seq, nil)
	}
	return nil
}

// fixed are the members that never change.
func fixed() []string {
	return []string{"id", "roomId", "seq", "n", "sender", "type", "createdAt", "clientMsgId", "system"}
}

// Whole takes a message as message:new and pages have it.
func (r *Room) Whole(message []byte) error {
	var h head
	var fields Fields
	if err := json.Unmarshal(message, &h); err != nil {
		return fmt.Errorf("read a message: %w", err)
	}
	if err := json.Unmarshal(message, &fields); err != nil {
		return fmt.Errorf("read a message: %w", err)
	}
	version := max(h.Seq, h.Changed)
	e := r.entry(h.ID)
	e.seq = h.Seq
	r.set(&e.fixed, 0, take(fields, fixed()...))
	e.gone = e.gone || h.DeletedAt != nil
	counts, err := withoutMine(take(fields, "reactions"))
	if err != nil {
		return err
	}
	r.set(&e.counts, version, counts)
	r.set(&e.pin, version, take(fields, "pinnedAt"))
	delete(fields, "changed")
	r.set(&e.body, version, fields)
	return nil
}

// take moves members out of fields.
func take(fields Fields, names ...string) Fields {
	taken := Fields{}
	for _, name := range names {
		if v, ok := fields[name]; ok {
			taken[name] = v
			delete(fields, name)
		}
	}
	return taken
}

// withoutMine drops from reactions what depends on who reads.
func withoutMine(fields Fields) (Fields, error) {
	raw, ok := fields["reactions"]
	if !ok {
		return fields, nil
	}
	var counts []struct {
		Key   string `json:"key"`
		Count int    `json:"count"`
	}
	err := json.Unmarshal(raw, &counts)
	if err == nil {
		fields["reactions"], err = json.Marshal(counts)
	}
	return fields, err
}

// Messages gives the messages that are known as a whole, by sequence. What answers a message that was deleted shows nothing of it.
func (r *Room) Messages() []Fields {
	list := r.whole()
	messages := make([]Fields, len(list))
	for i, e := range list {
		m := maps.Clone(e.fixed.fields)
		for _, a := range []aspect{e.body, e.counts, e.pin} {
			maps.Copy(m, a.fields)
		}
		if version := e.version(); version > e.seq {
			m["changed"] = fmt.Append(nil, version)
		}
		if raw, ok := m["replyTo"]; ok {
			m["replyTo"] = r.reply(raw)
		}
		messages[i] = m
	}
	return messages
}

// whole lists the messages that are known as a whole, by sequence.
func (r *Room) whole() []*entry {
	var list []*entry
	for _, e := range r.messages {
		if e.seq > 0 {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(x, y *entry) int { return cmp.Compare(x.seq, y.seq) })
	return list
}

func (e *entry) version() uint64 { return max(e.body.version, e.counts.version, e.pin.version) }

func (r *Room) reply(raw json.RawMessage) json.RawMessage {
	var to Fields
	var id string
	if json.Unmarshal(raw, &to) != nil || json.Unmarshal(to["id"], &id) != nil {
		return raw
	}
	if e := r.messages[id]; e == nil || !e.gone {
		return raw
	}
	to["preview"] = json.RawMessage(`""`)
	blank, err := json.Marshal(to)
	if err != nil {
		return raw
	}
	return blank
}
