package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/starling-chat/starling/proto/subject"
	"github.com/starling-chat/starling/test/internal/launch"
)

// natsUser is the rig's own, for reading the stream. The services have theirs, with the permissions of deploy/nats/nats.conf.
const (
	natsUser     = "chaos"
	natsPassword = "chaos"
)

// natsNode is one NATS server.
type natsNode struct {
	*launch.Process
	client, monitor, route string // addresses
	store, conf            string // paths
	Disk                   *Disk  // nil: on the machine's file system
}

const natsConf = `server_name: %[1]s
listen: %[2]s
http: %[3]s
max_payload: 4MB
max_pending: 64MB
ping_interval: "3s"
ping_max: 2
write_deadline: "5s"
lame_duck_duration: "30s"
lame_duck_grace_period: "5s"
jetstream {
  store_dir: %[4]q
  max_memory_store: 256MB
  max_file_store: 10GB
}
`

const natsClusterConf = `cluster {
  name: chaos
  listen: %s
  routes: [%s]
}
`

// writeConf writes the server's configuration: what deploy/nats/nats.conf says about users, on addresses of our own.
func (n *natsNode) writeConf(deployed string, all []*natsNode) error {
	text, err := os.ReadFile(deployed) //nolint:gosec // part of the repository
	if err != nil {
		return fmt.Errorf("read NATS' users: %w", err)
	}
	_, users, found := strings.Cut(string(text), "\nauthorization {")
	if !found {
		return fmt.Errorf("%s has no authorization block", deployed)
	}
	users = strings.Replace(users, "users: [", fmt.Sprintf("users: [\n    {user: %s, password: %s}", natsUser, natsPassword), 1)
	conf := fmt.Sprintf(natsConf, n.Name, n.client, n.monitor, n.store)
	if len(all) > 1 {
		var routes []string
		for _, other := range all {
			routes = append(routes, "nats-route://"+other.route)
		}
		conf += fmt.Sprintf(natsClusterConf, n.route, strings.Join(routes, ", "))
	}
	if err := os.WriteFile(n.conf, []byte(conf+"authorization {"+users), 0o600); err != nil { //nolint:gosec // inside the run's folder
		return fmt.Errorf("write NATS' configuration: %w", err)
	}
	return nil
}

// Wipe removes the store of a server that is not running.
func (n *natsNode) Wipe() error {
	entries, err := os.ReadDir(n.store)
	if err != nil {
		return fmt.Errorf("wipe the store of %s: %w", n.Name, err)
	}
	for _, e := range entries { // the folder itself may be a mount point
		if err := os.RemoveAll(filepath.Join(n.store, e.Name())); err != nil {
			return fmt.Errorf("wipe the store of %s: %w", n.Name, err)
		}
	}
	return nil
}

// healthy asks the server whether its part of JetStream is up to date.
func (n *natsNode) healthy(ctx context.Context) error {
	return launch.Get(ctx, "http://"+n.monitor+"/healthz", nil)
}

// StreamLeader is the index of the NATS server that leads the stream ROOMS.
func (c *Cluster) StreamLeader(ctx context.Context) (int, error) {
	if len(c.NATS) == 1 {
		return 0, nil
	}
	var reply struct {
		Accounts []struct {
			Streams []struct {
				Name    string `json:"name"`
				Cluster struct {
					Leader string `json:"leader"`
				} `json:"cluster"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	for _, node := range c.NATS {
		if err := launch.Get(ctx, "http://"+node.monitor+"/jsz?streams=true", &reply); err != nil {
			continue
		}
		for _, account := range reply.Accounts {
			for _, stream := range account.Streams {
				if stream.Name != subject.RoomsStream {
					continue
				}
				for i, n := range c.NATS {
					if n.Name == stream.Cluster.Leader {
						return i, nil
					}
				}
			}
		}
	}
	return 0, errors.New("the stream has no leader now")
}
