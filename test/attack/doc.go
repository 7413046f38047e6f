//go:build linux

// Command attack plays a stranger who takes from everybody, against a fresh system (deploy/local with two gateways), while others
// chat: `make attack`. Each attack runs for a while, with bounds of its own, and prints one line:
//
//   - how long the others' sends took, from the request to the ack: over a WebSocket, through another gateway's tunnel, by REST behind a
//     client that pools connections; and how long it took to come in and send a first message, or to log in;
//   - how much memory Starling took at most, beside what it had before;
//   - what the attack did, and what was done to it.
//
// An attack is repelled when the others' sends stay below a second and none is lost, the memory stays bounded, and what the attack
// itself looks for is as it should be: that a flood is ended, that recovery still works after it. On a slow machine "a second" is
// relative: the same sends are measured without an attack before. What is not repelled is tried once more, after another look at how
// long sends take without an attack: only what hurts twice is a fault. The attackers use the same processors, so they send no more than
// the system under attack takes; how much of them they use is said beside.
//
//	rig ──► system            deploy/local as a child, few descriptors
//	 ├────► others            chatters, newcomers, logins: they measure
//	 └────► attacks, in turn  handshakes, bodies, frames, logins, connects, floods, addresses, tunnels
//
// Everything stays on 127.0.0.1; other addresses are told by X-Forwarded-For, for the rig is a trusted proxy.
package main
