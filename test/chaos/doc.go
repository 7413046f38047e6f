// Command chaos is the fault rig: it runs Starling as separate processes behind proxies, disturbs them by a plan that follows from a
// seed while a few hundred clients talk, and then holds what the clients saw and the database has against what Starling
// promises.
//
//	internal/cluster   processes, proxies, disks
//	internal/nemesis   the plan and what it does
//	internal/load      the clients
//	internal/history   what a run leaves behind
//	internal/check     the promises
//	internal/report    the page about it
//
// Phases of a run:
//
//	start ─▶ connect ─▶ load + faults ─▶ heal ─▶ load alone ─▶ no sends, quiet ─▶ dump ─▶ stop ─▶ check ─▶ report
package main
