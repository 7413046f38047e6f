// Package notifications stores notifications, which have nothing to do with rooms: the table of that name and no other.
package notifications
