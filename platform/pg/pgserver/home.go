package pgserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// fallbackRoot holds the servers of root whose own directory cannot be reached.
const fallbackRoot = "/var/lib/starling"

// home is the server's directory and the user that the server runs as.
type home struct {
	dir string
	as  *syscall.Credential // nil: as this process
}

// openHome finds or creates the directory, see the package comment.
func openHome(ctx context.Context, dir string, log *slog.Logger) (*home, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	if os.Geteuid() != 0 {
		return &home{dir: dir}, makeHome(dir, nil)
	}
	as, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	closed, err := closedParent(dir, as)
	if err != nil {
		return nil, err
	}
	if closed == "" {
		return &home{dir, as}, makeHome(dir, as)
	}
	fallback := filepath.Join(fallbackRoot, fmt.Sprintf("pg-%x", sha256.Sum256([]byte(dir)))[:len("pg-")+12])
	if as, err = unprivileged(fallback); err != nil {
		return nil, err
	}
	log.LogAttrs(ctx, slog.LevelInfo, "database directory moved: PostgreSQL cannot run as root",
		slog.String("wanted", dir), slog.String("unreachable", closed), slog.String("dir", fallback))
	// 0711: passable, not readable; each server's directory below is its user's only.
	if err := os.MkdirAll(fallbackRoot, 0o711); err != nil { //nolint:gosec // passable on purpose
		return nil, fmt.Errorf("PostgreSQL cannot run as root, and uid %d cannot pass %s; choose another data directory or run as a normal user: %w", as.Uid, closed, err)
	}
	return &home{fallback, as}, makeHome(fallback, as)
}

// unprivileged chooses the user for root's servers: who owns the cluster, else postgres, else nobody.
func unprivileged(dir string) (*syscall.Credential, error) {
	if info, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
			return &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}, nil
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL cannot run as root, and there is no user postgres or nobody; run as a normal user")
}

// closedParent returns the outermost parent of dir that the user cannot pass, or
// "". Parents inside the system's temporary directory are opened instead.
func closedParent(dir string, as *syscall.Credential) (string, error) {
	parent := filepath.Dir(dir)
	if parent == dir {
		return "", nil
	}
	if closed, err := closedParent(parent, as); closed != "" || err != nil {
		return closed, err
	}
	info, err := os.Stat(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // made by makeHome
	}
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", parent, err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	bit := fs.FileMode(0o001)
	switch {
	case ok && owner.Uid == as.Uid:
		bit = 0o100
	case ok && owner.Gid == as.Gid:
		bit = 0o010
	}
	if info.Mode()&bit != 0 {
		return "", nil
	}
	if ok && owner.Uid == 0 && strings.HasPrefix(parent, filepath.Clean(os.TempDir())+string(filepath.Separator)) {
		if err := os.Chmod(parent, info.Mode().Perm()|bit); err != nil {
			return "", fmt.Errorf("make %s passable: %w", parent, err)
		}
		return "", nil
	}
	return parent, nil
}

// makeHome creates dir for its user alone. A directory with foreign files is
// refused, lest they are given away.
func makeHome(dir string, as *syscall.Credential) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // the server's user passes the parents
		return fmt.Errorf("create the data directory: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create the data directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the data directory: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil && len(entries) > 0 {
		return fmt.Errorf("data directory %s holds other files; choose an empty one", dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory
		return fmt.Errorf("close the data directory: %w", err)
	}
	if as == nil {
		return nil
	}
	if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
		return fmt.Errorf("give the data directory to uid %d: %w", as.Uid, err)
	}
	return nil
}

func (h *home) data() string            { return filepath.Join(h.dir, "data") }
func (h *home) file(name string) string { return filepath.Join(h.dir, name) }

// chown gives path to the server's user.
func (h *home) chown(path string) error {
	if h.as == nil {
		return nil
	}
	return os.Lchown(path, int(h.as.Uid), int(h.as.Gid))
}

func (h *home) chownAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, h.chown(path))
	})
}

// lock makes this process the only one with the directory until unlock or its end.
func (h *home) lock() (unlock func(), err error) {
	file, err := os.OpenFile(h.file("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrInUse, h.dir)
		}
		return nil, fmt.Errorf("lock %s: %w", h.dir, err)
	}
	return func() { _ = file.Close() }, nil
}

// socketDir makes a directory whose name is short enough for a socket (103 bytes).
func (h *home) socketDir() (string, error) {
	dir, err := os.MkdirTemp("/tmp", "starling-pg-")
	if err != nil {
		return "", fmt.Errorf("create socket directory: %w", err)
	}
	if err := h.chown(dir); err != nil {
		return "", fmt.Errorf("create socket directory: %w", err)
	}
	return dir, nil
}

// command prepares a program of PostgreSQL: as the server's user, in a process
// group of its own (Ctrl-C in a terminal is the parent's), with a clean environment.
func (h *home) command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // found by findBinaries
	cmd.Dir = h.dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = childAttributes(h.as)
	return cmd
}
