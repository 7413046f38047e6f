// Package clientevents answers the client event presence:get.
//
//	client.v1.*.presence.get ─▶ eventserver.Server ─▶ Routes ─▶ presence.Query
package clientevents
