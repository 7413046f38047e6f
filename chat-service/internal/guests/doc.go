// Package guests has guests who are no more leave their rooms, and forgets them.
package guests
