// Package access is the one decision of who may do what in a room. Whoever has to know it, for a write, a read, an event that is not
// stored, or a gateway that carries a socket on, makes a Standing of what the store says and asks it. The first that fits decides:
//
//	there is no such room  not_found
//	a ban                  forbidden, banned, until when
//	a membership           what its role, and a mute, allow
//	a public room          may be entered, and no more
//	any other room         not_found, with the same words as a room that does not exist
package access
