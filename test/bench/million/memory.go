//go:build linux

package main

import (
	"os"
	"strconv"
	"strings"

	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/bench/internal/system"
	"github.com/starling-chat/starling/test/internal/proc"
)

// memory is what was in use at one moment, in bytes.
type memory struct {
	available int64 // of the machine
	gateways  int64 // resident, of all gateways
	others    int64 // resident, of NATS and the services
	crowds    int64 // resident, of the load generator
	slab      int64 // of the kernel: descriptors, sockets, what epoll keeps
	tcp       int64 // of the kernel: what waits in sockets
}

func measure(s *system.System, cs *crowds) (m memory) {
	for _, role := range s.Roles {
		for _, pid := range role.PIDs {
			if n := proc.Memory(pid, proc.Resident); role.Server {
				m.gateways += n
			} else {
				m.others += n
			}
		}
	}
	for _, c := range cs.all {
		m.crowds += proc.Memory(c.cmd.Process.Pid, proc.Resident)
	}
	m.available, m.slab = machine("MemAvailable:"), machine("Slab:")
	m.tcp = tcpPages() * int64(os.Getpagesize())
	return m
}

// machine reads a line of /proc/meminfo, in bytes.
func machine(line string) int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	return number(string(text), line) << 10
}

// tcpPages is how many pages the kernel's TCP buffers take.
func tcpPages() int64 {
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0
	}
	_, tcp, _ := strings.Cut(string(text), "TCP:")
	tcp, _, _ = strings.Cut(tcp, "\n")
	return number(tcp, "mem")
}

// number is the number behind a word, 0 if there is none.
func number(text, word string) int64 {
	_, rest, _ := strings.Cut(text, word)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64)
	return n
}

// addMemory reports what n connections took.
func addMemory(r *report.Result, before, after memory, n int64) {
	for _, part := range []struct {
		name          string
		before, after int64
		better        report.Better
	}{
		{"gateways, resident", before.gateways, after.gateways, report.Lower},
		{"NATS and services, resident", before.others, after.others, report.Neutral},
		{"load generator, resident", before.crowds, after.crowds, report.Neutral},
		{"kernel, slab (both ends)", before.slab, after.slab, report.Neutral},
		{"kernel, TCP buffers (both ends)", before.tcp, after.tcp, report.Neutral},
		{"machine, no longer available", -before.available, -after.available, report.Neutral},
	} {
		grown := part.after - part.before
		r.Add(part.name, "MiB", float64(grown)/(1<<20), report.Neutral)
		r.Add(part.name+", a connection", "bytes", float64(grown)/float64(max(n, 1)), part.better)
	}
	r.Add("available memory at the end", "MiB", float64(after.available)/(1<<20), report.Neutral)
}
