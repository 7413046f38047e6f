// Command chaos is the fault rig: it runs Starling as separate processes behind proxies, disturbs them by a plan that follows from a
// seed while a few hundred clients talk, and then compares what the clients saw and what the database has with what Starling
// promises.
//
//	internal/cluster   processes, proxies, disks; the processes are those of test/internal/launch
//	internal/nemesis   the plan and what it does
//	internal/load      the clients; their protocol is test/internal/sioclient
//	internal/history   what a run leaves behind
//	internal/check     the promises
//	internal/report    the page about it
//
// Phases of a run:
//
//	start ─▶ connect ─▶ load + faults ─▶ heal ─▶ load alone ─▶ no sends, quiet ─▶ dump ─▶ stop ─▶ check ─▶ report
package main
