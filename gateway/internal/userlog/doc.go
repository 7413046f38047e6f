// Package userlog has sockets on / enter the logs of their users: what is a user's own, on all devices.
//
// A log is a room whose only member is the user (limits.UserLog): the hub, the repairs of roomfeed and the recovery of sockets treat it
// like any other. Two things differ, so that a connection in whose log nothing happens costs nothing. Logs reach a gateway by
// shards of users, not by a subscription each. And a socket enters its log when the first event comes, not when it connects:
//
//	first event of a user  ─▶ Heard ─▶ hub.BeginFirstJoin   events are buffered from here on
//	                                   from where?          known: hub.CompleteJoin at once
//	                                                        otherwise a worker reads the log since the socket connected
//	                                   hub.CompleteJoin     what was buffered
//
// A socket that says what it has seen (auth.useq), or was recovered, may have missed something before: Look has a worker find out.
// Whether an event was lost on its way is found by asking chat-service from time to time whose logs have grown.
package userlog
