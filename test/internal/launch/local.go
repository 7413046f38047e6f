//go:build linux

package launch

import (
	"context"
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
)

// localPackage is all of Starling in one process, with a PostgreSQL of its own as a child.
const localPackage = "./deploy/local"

// BuildLocal builds deploy/local into dir and gives its path.
func BuildLocal(ctx context.Context, root, dir string) (binary string, err error) {
	return filepath.Join(dir, filepath.Base(localPackage)), Build(ctx, root, dir, "", localPackage)
}

// LocalSpec says how to run deploy/local.
type LocalSpec struct {
	Binary    string
	Data      string // folder
	FirstPort int    // of the gateways, which have ports in a row
	Gateways  int
	Args      []string // further flags
	Env       []string
	Output    io.Writer
}

// Local is deploy/local as a process.
type Local struct {
	*Process
	Addresses []netip.AddrPort // of the gateways
	data      string
}

// NewLocal prepares the process. Start starts it, Ready tells when it serves.
func NewLocal(s LocalSpec) *Local {
	args := []string{"--gateways=" + strconv.Itoa(s.Gateways), "--listen=" + Loopback(s.FirstPort).String(), "--data=" + s.Data}
	l := &Local{data: s.Data, Process: NewProcess(Spec{
		Name: "Starling", Path: s.Binary, Args: append(args, s.Args...), Env: s.Env, Output: s.Output, Orderly: true,
	})}
	for i := range s.Gateways {
		l.Addresses = append(l.Addresses, Loopback(s.FirstPort+i))
	}
	return l
}

// Ready asks every gateway whether it serves, and through the gateway auth-service.
func (l *Local) Ready(ctx context.Context) error { return GatewaysReady(ctx, l.Addresses) }

// GatewaysReady asks gateways whether they serve, and through them auth-service.
func GatewaysReady(ctx context.Context, addresses []netip.AddrPort) error {
	for _, a := range addresses {
		for _, path := range []string{"/healthz", "/.well-known/jwks.json"} {
			if err := Get(ctx, "http://"+a.String()+path, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// Clean removes the data, when the process has ended: PostgreSQL's files may lie elsewhere than the data folder.
func (l *Local) Clean(ctx context.Context) {
	_ = exec.CommandContext(ctx, l.Path, "--clean", "--data="+l.data).Run() //nolint:gosec // our own binary
}
