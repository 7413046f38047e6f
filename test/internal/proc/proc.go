// Package proc reads from /proc what processes use. Of a process that is gone it reads 0 or nothing.
package proc

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the kernel's unit of CPU time in /proc, the same on every Linux architecture that Go runs on.
const tick = 10 * time.Millisecond

// CPU is the time that a process has spent, with user and system time; 0 when it is gone.
func CPU(pid int) time.Duration {
	fields := stat(pid)
	if len(fields) < 15 {
		return 0
	}
	return ticks(fields[11]) + ticks(fields[12])
}

// CPUTree is the time that a process, its living descendants and those that they have waited for have spent.
func CPUTree(pid int) (total time.Duration) {
	for _, p := range append(Descendants(pid), pid) {
		if fields := stat(p); len(fields) >= 15 {
			total += ticks(fields[11]) + ticks(fields[12]) + ticks(fields[13]) + ticks(fields[14])
		}
	}
	return total
}

func ticks(field string) time.Duration {
	n, err := strconv.ParseInt(field, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * tick
}

// stat gives the fields of /proc/PID/stat from the third, the state, on: the second may contain spaces.
func stat(pid int) []string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil
	}
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return nil
	}
	return strings.Fields(string(b[i+1:]))
}

// Descendants are the children of a process, their children and so on.
func Descendants(pid int) (all []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := make(map[int][]int)
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if fields := stat(child); len(fields) > 1 {
			if parent, err := strconv.Atoi(fields[1]); err == nil {
				children[parent] = append(children[parent], child)
			}
		}
	}
	queue := children[pid]
	for len(queue) > 0 {
		p := queue[0]
		queue = append(queue[1:], children[p]...)
		all = append(all, p)
	}
	return all
}

// Children are the processes that the main thread of a process has started: all of one that has no other threads, as
// PostgreSQL's first. Descendants costs a look at every process of the machine, Children does not.
func Children(pid int) (pids []int) {
	thread := strconv.Itoa(pid)
	text, err := os.ReadFile(filepath.Join("/proc", thread, "task", thread, "children")) //nolint:gosec // a number
	if err != nil {
		return nil
	}
	for field := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// Kinds of memory, as /proc/PID/status names them.
const (
	Resident  = "VmRSS:"   // all
	Anonymous = "RssAnon:" // without what is shared by name, such as PostgreSQL's buffers
)

// Memory is the memory of one kind that a process holds, in bytes; 0 where it is not known.
func Memory(pid int, kind string) int64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), kind)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// Load is the machine's load average over the last minute, in processes.
func Load() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	load, _ := strconv.ParseFloat(first, 64)
	return load
}
