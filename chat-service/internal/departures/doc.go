// Package departures has users who are no more, guests who are over and users who were deleted, leave their rooms, and forgets them.
package departures
