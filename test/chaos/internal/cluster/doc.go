// Package cluster runs Starling as it is deployed: the real binaries as child processes, in several copies, on a private
// PostgreSQL and one or three NATS servers, with a proxy on every link that the rig wants to disturb.
//
//	clients ──▶ proxy ──▶ gateway-0, gateway-1
//	gateways ──▶ proxies ──▶ auth-0, auth-1, chat-0, chat-1, presence-0, presence-1   (gRPC)
//	all of them ──▶ proxies ──▶ nats-0, nats-1, nats-2
//	services ──▶ proxies ──▶ postgres
//
// Each process has its own proxies, so that one link can fail while its neighbour works. A link is called
// "from>to": "gateway-0>nats-1", "clients>gateway-0". The routes between the NATS servers are direct.
//
// The cluster only does what it is told; package nemesis decides. Stop ends all processes and removes the mounts. When the rig
// itself is killed, the kernel ends its children, and the next run removes the folder that was left.
package cluster
