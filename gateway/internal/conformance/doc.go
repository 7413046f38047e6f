// Package conformance serves the gateway's own protocol stack with the Apps that the official test suites expect of the
// server they run against (docs/socketio.md, "Conformance"), so that anyone can point them at it:
//
//	suite              address  endpoints                serves
//	protocol           :3000    /engine.io/ /socket.io/  the Engine.IO and Socket.IO protocol suites
//	socket.io-client   :3210    /socket.io/              socket.io-client's own tests
//	engine.io-client   :3000    /engine.io/              engine.io-client's own tests
//
// Nothing of the protocol is here: what differs from a gateway is the App, the settings, and a few HTTP answers that the
// suites' servers give (cookies, ?deny, a delay), made around the endpoint.
package conformance
