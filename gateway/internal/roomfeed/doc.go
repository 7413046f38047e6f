// Package roomfeed brings the events of rooms to the hub: of the rooms that this gateway needs, in sequence, with gaps repaired.
//
//	Acquire(room) ──► subscription ──► one channel for each hub shard ──► pump ──► hub.ApplyAll
//	                                                                               │ a sequence is missing
//	                  stream ROOMS, chat-service ◄── repair, after GapWait ◄───────┘
//	                  chat-service's heads ◄── every HeadInterval, for a lost last event
//
// A Source says where events come from, so that the fault rig can put a broken one in its place.
//
// Locks: subscriptions.mu and repairs.mu are leaves; neither is held while the hub, the bus or chat-service is called.
package roomfeed
