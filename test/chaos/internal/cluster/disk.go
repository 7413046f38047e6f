package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Disk is a small file system of its own, which can be filled.
//
// Fill makes the file system as small as what it holds. Every write that needs a new block then fails with ENOSPC, as beside a
// ballast file, but no memory is needed for one.
type Disk struct {
	dir  string
	size int64
}

const (
	tmpfs   = "tmpfs"
	remount = 5 // attempts: what is written meanwhile makes the new size too small
)

// mountDisk makes and mounts a file system, which needs root.
func mountDisk(dir string, size int64) (*Disk, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user passes it
		return nil, fmt.Errorf("make the mount point: %w", err)
	}
	if err := syscall.Mount(tmpfs, dir, tmpfs, 0, fmt.Sprintf("size=%d,mode=0755", size)); err != nil {
		return nil, fmt.Errorf("mount a small file system at %s: %w", dir, err)
	}
	return &Disk{dir: dir, size: size}, nil
}

// Fill leaves no free block.
func (d *Disk) Fill() error {
	var err error
	for range remount {
		var stat syscall.Statfs_t
		if err = syscall.Statfs(d.dir, &stat); err != nil {
			return fmt.Errorf("look at %s: %w", d.dir, err)
		}
		used := int64(stat.Blocks-stat.Bfree) * stat.Bsize //nolint:gosec // far below 2^63
		if err = d.resize(used); err == nil {
			return nil
		}
	}
	return fmt.Errorf("fill %s: %w", d.dir, err)
}

// Free gives the space back.
func (d *Disk) Free() error { return d.resize(d.size) }

func (d *Disk) resize(size int64) error {
	if err := syscall.Mount(tmpfs, d.dir, tmpfs, syscall.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
		return fmt.Errorf("resize %s: %w", d.dir, err)
	}
	return nil
}

func (d *Disk) unmount() error {
	if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", d.dir, err)
	}
	return nil
}

// dirPrefix marks the folders of runs; the pid of the rig follows.
const dirPrefix = "starling-chaos-"

// NewDir makes the folder of a run inside the system's temporary directory, and removes those of rigs that were killed.
func NewDir() (string, error) {
	removeStale()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", dirPrefix, os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("make the run's folder: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user passes it
		return "", fmt.Errorf("open the run's folder: %w", err)
	}
	return dir, nil
}

func removeStale() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if _, err := os.Stat(filepath.Join("/proc", pid)); err == nil {
			continue
		}
		Remove(dir)
	}
}

// Remove removes a run's folder with everything that is still mounted inside.
func Remove(dir string) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return // better a folder left behind than a removal inside a mount
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			_ = syscall.Unmount(fields[1], syscall.MNT_DETACH)
		}
	}
	_ = os.RemoveAll(dir)
}
