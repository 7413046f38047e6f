// Package quota counts what a user takes of this gateway over all of its sockets: how many there are, and how many events, and bytes of
// events, they send. A user who opens a hundred sockets has the rate of a few, not of a hundred.
//
// A user is looked up once a socket, when it comes; after that its events cost two atomic operations and no lock. What is kept of a
// user is of a fixed size, and goes with its last socket.
package quota
