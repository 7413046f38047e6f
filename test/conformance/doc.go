// Package conformance has only tests: every point of Engine.IO 4 and Socket.IO 5 that the gateway promises
// (docs/socketio.md), tried over raw HTTP and raw WebSocket against the conformance server, which is the gateway's own
// protocol stack with another App. The same tests run against any other server:
//
//	CONFORMANCE_PROTOCOL_URL=http://localhost:3000 go test -count=1 ./conformance
//
// CONFORMANCE_SOCKETIO_CLIENT_URL and CONFORMANCE_ENGINEIO_CLIENT_URL do so for the servers of those suites. Without them
// the tests build and start the servers on free ports; -count=1 because the test cache does not know what they build.
//
// TestTranscripts replays what clients of other languages send where they differ from JavaScript's, against the conformance server and,
// where its packages are installed, against the official server.
//
// What official clients make of it is tried in the folder clients (node run.js).
package conformance
