// Package eventserver answers client events: it is how chat-service and presence-service do it, and how a service of your own
// adds events to Starling without touching a gateway. docs/extending.md has a service from start to end.
//
//	NATS ─▶ inbox ─▶ dispatch ─┬─ Route.Write ─▶ the route's own queue ─▶ done(reply) ─┐
//	        bounded            └─ Route.Handle ─▶ worker of the socket ───────────────┼─▶ batch ─▶ one reply
//	                               full: unavailable                                  ┘   to the gateway
//
//	server, err := eventserver.New(nc, eventserver.Service{
//		Name: "orders",
//		Routes: []eventserver.Route{{Event: "order:create", Handle: create}},
//	}, eventserver.Limits{}, registry, log)
//	…
//	err = server.Run(ctx)
//
// What it promises:
//
//   - Events of one socket reach Write in their order, and Handle one after another. A Write and a Handle of one socket may
//     overlap, because a Write holds no worker until it is answered.
//   - Every request is answered once, or left to the gateway's patience: a repeat that must not be done again, and what came
//     while the process stood still (package stall). A gateway repeats a request without an answer at another replica;
//     Request.Attempt tells. Of an event that is OneAtATime one attempt at most may be begun at any time.
//   - Several events of a socket may come as one request. They are answered together, which is why a large answer travels alone.
//   - An error that is no fault, and a panic, are answered as internal with an id that the log has (fault.Log).
//   - Every queue is bounded, and what does not fit is refused as unavailable, with the time to try again.
//   - At the end of Run's ctx no more is taken, and what was taken is answered.
//   - Gateways know from the catalog, which is announced while Run runs, whether an event is unknown or its service away.
package eventserver
