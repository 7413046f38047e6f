// Package replay sends a socket the room events that it missed, as chat-service has them, before it hears the live ones. A socket that
// is recovered is sent those of its rooms so, and one that enters its user's log those of the log.
package replay
