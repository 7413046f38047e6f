// Package access is the one decision of who may do what in a room. Whoever has to know it, for a write, a read, an event that is not
// stored, or a gateway that carries a socket on, makes a Standing of what the store says and asks it. The first that fits decides:
//
//	there is no such room  not_found; a deleted one is none
//	another backend asks   whatever it wants
//	a ban                  forbidden, banned, until when
//	a mute                 of a member: may say nothing
//	a token opens it       what the claim says, and no less than the rest of this list
//	a membership           what its role and the room's settings allow, in an archived room nothing is said; one that came by a token
//	                       counts while the token opens the room
//	a public room          may be looked at and, unless it is archived, entered; and no more
//	any other room         not_found, with the same words as a room that does not exist
package access
