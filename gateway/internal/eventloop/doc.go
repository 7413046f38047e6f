// Package eventloop waits for many descriptors with few goroutines. A Loop is an epoll instance with a table of its members; it tells a member
// what has become of its descriptor, and does nothing else. A Descriptor knows whether somebody reads it, and whether its last write found
// the kernel full, so that no edge that epoll reports is missed, and none starts a second reader.
//
//	epoll ──event──► Loop ──Happened──► member ──► Descriptor.Happened: start a reader? write on?
//
// The package knows nothing of what is read and written: package transport stands on it.
package eventloop
