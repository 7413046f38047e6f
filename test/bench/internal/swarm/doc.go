// Package swarm holds thousands of Socket.IO connections at the cost of a few hundred bytes each, for benchmarks.
//
// A Swarm is a few loops, each an epoll instance with one goroutine. A conn belongs to one loop for its life; its Handler is
// called on that loop only and must not block. Frames that handlers send are collected and leave with one write per conn when
// the loop has handled everything that had arrived.
//
//	dial → handshake (HTTP 101) → Engine.IO open "0{…}" → Socket.IO CONNECT "40{token}" → "40{sid}" → Opened → events, acks
//
// Packets and frames are those of test/internal/sioclient. The loops replace its links, which need a goroutine for each
// connection. A Swarm speaks WebSocket only, asks for no recovery, and works on Linux only.
package swarm
