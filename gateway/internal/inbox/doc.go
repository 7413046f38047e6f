// Package inbox keeps which sockets of this gateway have which rooms in their inbox, and tells them how these stand.
//
//	CONNECT with inbox ─▶ Open ─▶ a worker asks chat-service for the rooms ─▶ inbox:state ─▶ the rooms are of interest here
//	activity of a shard of rooms ─bus─▶ the room is of interest? ─▶ room:activity, at most once in a while ─▶ sockets that have not joined it
//
// Interest is in rooms, by members who are here: only shards of rooms with such a room are subscribed to, so what a room costs does not
// depend on how many members it has elsewhere. A socket is told of the rooms of which its user was a member when it was asked last. It is asked again
// when the log of the user tells of a room that was added or removed, and for all sockets when the bus was away: then inbox:state comes
// again. An eviction (a user removed or banned) ends the interest at once, before the gateway confirms it; a question that was under way
// meanwhile is asked again.
//
// What happens between the question and the subscription is found by comparing the heads of the rooms.
//
// Locks: mu is held while a socket's list of rooms is looked at (Client) and while something is queued to it, never while anything is
// asked, or written to a conn or the bus.
package inbox
