package subject_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/starling-chat/starling/proto/limits"
	"github.com/starling-chat/starling/proto/namespaces"
	"github.com/starling-chat/starling/proto/subject"
)

// The parties of the table in doc.go.
const (
	gateway   = "gateway"
	chat      = "chat-service"
	presence  = "presence-service"
	auth      = "auth-service"
	jetStream = "JetStream" // may what it is told; it is no user of the server
)

// golden is every row of the table in doc.go: how it is spelled, an example as a function of this package spells it, and
// who publishes and who listens. A subject must never change: parts of two ages talk to each other while a system is
// upgraded. Whoever needs another shape takes another subject (v2).
var golden = []struct {
	row, example, got string
	from, to          []string
}{
	{"client.v1.<namespace>.<event>", "client.v1.root.message.send", clientEvent("/", "message:send"), list(gateway), list(chat)},
	{"client.v1.<namespace>.presence.<event>", "client.v1.root.presence.get", clientEvent("/", "presence:get"), list(gateway), list(chat, presence)},
	{"roomlog.v1.root.<room>", "roomlog.v1.root.pgeneral", subject.RoomLog("general"), list(chat), list(jetStream)},
	{"room.v1.root.<room>", "room.v1.root.pgeneral", subject.Room("general"), list(chat, jetStream), list(gateway)},
	{"roomlog.v1.user.<shard>", "roomlog.v1.user.24", subject.RoomLog(limits.UserLog("ann")), list(chat), list(jetStream)},
	{"room.v1.user.<shard>", "room.v1.user.24", subject.Room(limits.UserLog("ann")), list(chat, jetStream), list(gateway)},
	{"broadcast.v1.<namespace>", "broadcast.v1.chat", subject.Broadcast(namespaces.Chat), list(chat), list(gateway)},
	{"user.v1.<shard>", "user.v1.24", subject.User("ann"), list(chat), list(gateway)},
	{"auth.v1.revoked", "auth.v1.revoked", subject.Revoked, list(auth), list(gateway, auth)},
	{"chat.v1.evict", "chat.v1.evict", subject.Evict, list(chat), list(gateway, chat)},
	{"activity.v1.<shard>", "activity.v1.107", subject.Activity(subject.RoomShard("general")), list(chat), list(gateway)},
	{"chat.v1.inbox", "chat.v1.inbox", subject.InboxWanted, list(gateway), list(chat)},
	{"auth.v1.named", "auth.v1.named", subject.Named, list(auth), list(chat)},
	{"chat.v1.typing", "chat.v1.typing", subject.Typing, list(chat), list(chat)},
	{"presence.v1.delta", "presence.v1.delta", subject.PresenceDelta, list(gateway), list(presence, chat)},
	{"presence.v1.lease", "presence.v1.lease", subject.PresenceLease, list(gateway), list(presence, gateway, chat)},
	{"presence.v1.snapshot.<gateway>", "presence.v1.snapshot.pgw-1", subject.PresenceSnapshot("gw-1"), list(presence), list(gateway)},
	{"presence.v1.online", "presence.v1.online", subject.PresenceOnline, list(presence), list(gateway, presence)},
	{"presence.v1.changed.<shard>", "presence.v1.changed.24", subject.PresenceChanged(subject.UserShard("ann")), list(presence), list(gateway)},
	{"catalog.v1.announce", "catalog.v1.announce", subject.CatalogAnnounce, list(chat, presence), list(gateway)},
	{"catalog.v1.ask", "catalog.v1.ask", subject.CatalogAsk, list(gateway), list(chat, presence)},
	{"engine.v1.<gateway>", "engine.v1.pgw-1", subject.Engine("gw-1"), list(gateway), list(gateway)},
	{"cluster.v1.operation", "cluster.v1.operation", subject.ClusterOperation, list(gateway), list(gateway)},
	{"cluster.v1.hello", "cluster.v1.hello", subject.ClusterHello, list(gateway), list(gateway)},
	{"$KV.SESSIONS.<key>", "$KV.SESSIONS.s.pabc", subject.SessionsKey(subject.SessionState("abc")), list(gateway), list(jetStream)},
}

// spelled is everything else that this package spells.
var spelled = []struct{ name, got, want string }{
	{"RoomsStream", subject.RoomsStream, "ROOMS"},
	{"RoomsStreamSubjects", subject.RoomsStreamSubjects, "roomlog.v1.>"},
	{"RoomsStreamGet", subject.RoomsStreamGet, "$JS.API.DIRECT.GET.ROOMS"},
	{"RoomsLiveSubjects", subject.RoomsLiveSubjects, "room.v1.>"},
	{"RoomScope", subject.RoomScope, "root"},
	{"AllBroadcasts", subject.AllBroadcasts, "broadcast.v1.*"},
	{"AllUserLogs", subject.AllUserLogs, "room.v1.user.*"},
	{"RoomToken", subject.RoomToken("general"), "pgeneral"},
	{"AllUsers", subject.AllUsers, "user.v1.*"},
	{"UserShardSubject", subject.UserShardSubject(255), "user.v1.255"},
	{"SessionsBucket", subject.SessionsBucket, "SESSIONS"},
	{"SessionEnd", subject.SessionEnd("abc"), "c.pabc"},
	{"GatewayAlive", subject.GatewayAlive("gw-1", 1700000000000000000), "g.pgw-1.1700000000000000000"},
	{"Namespace", subject.Namespace(namespaces.Main), "root"},
	{"Namespace", subject.Namespace(""), "root"},
	{"Namespace", subject.Namespace(namespaces.Notifications), "notifications"},
	{"Namespace", subject.Namespace("/root"), "=cm9vdA"},
	{"Namespace", subject.Namespace("/a.*"), "=YS4q"},
	{"ClientEvent", clientEvent("/chat", "message"), "client.v1.chat.message"},
	{"ClientEvent", clientEvent("/", "a.b:>:*::ü"), "client.v1.root.=YS5i.=Pg.=Kg.=.=w7w"},
	{"ClientEventPattern", pattern("*", "presence:get"), "client.v1.*.presence.get"},
	{"ClientEventPattern", pattern("/chat", "message"), "client.v1.chat.message"},
	{"Room", subject.Room(""), "room.v1.root.b"},
	{"Room", subject.Room("room 1"), "room.v1.root.bcm9vbSAx"},
	{"Room", subject.Room(strings.Repeat("a", 48)), "room.v1.root.p" + strings.Repeat("a", 48)},
	{"Room", subject.Room(strings.Repeat("a", 49)), "room.v1.root.h" + "j5vsamLdKOvTbRIndFWS3mZYs2l0o7uYpMWC9oPqbEI"},
}

func list(parties ...string) []string { return parties }

func clientEvent(namespace, event string) string {
	s, err := subject.ClientEvent(namespace, event)
	if err != nil {
		return err.Error()
	}
	return s
}

func pattern(namespace, event string) string {
	s, err := subject.ClientEventPattern(namespace, event)
	if err != nil {
		return err.Error()
	}
	return s
}

func TestGolden(t *testing.T) {
	for _, g := range golden {
		if g.got != g.example {
			t.Errorf("%s is spelled %s, want %s", g.row, g.got, g.example)
		}
	}
	for _, s := range spelled {
		if s.got != s.want {
			t.Errorf("%s = %s, want %s", s.name, s.got, s.want)
		}
	}
}

// TestGoldenIsComplete: nothing that this package exports is missing above.
func TestGoldenIsComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "subject.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("golden_test.go")
	if err != nil {
		t.Fatal(err)
	}
	spellsNothing := list("Match", "UserShard", "UserShards", "RoomShards", "MaxEventName", "ErrEventName")
	for _, name := range exported(file) {
		if !slices.Contains(spellsNothing, name) && !strings.Contains(string(source), "subject."+name) {
			t.Errorf("%s is not in the golden list", name)
		}
	}
}

func exported(file *ast.File) []string {
	var names []string
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			names = append(names, d.Name.Name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if values, ok := spec.(*ast.ValueSpec); ok {
					for _, name := range values.Names {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return !ast.IsExported(name) })
}

// TestTable: the documentation has exactly the rows of golden.
func TestTable(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^//\t(\S+)  +(.*\S)  +(\S.*)$`).FindAllStringSubmatch(string(source), -1) {
		documented[row[1]] = row[3]
	}
	for _, g := range golden {
		want := strings.Join(g.from, ", ") + " → " + strings.Join(g.to, ", ")
		if documented[g.row] != want {
			t.Errorf("doc.go has %q for %s, want %q", documented[g.row], g.row, want)
		}
		delete(documented, g.row)
	}
	for row := range documented {
		t.Errorf("doc.go has a row %s that is not in the golden list", row)
	}
}

// TestPermissions: the NATS server lets each service publish and hear what the table says, and nothing else.
func TestPermissions(t *testing.T) {
	const conf = "../../deploy/nats/nats.conf"
	source, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	users := regexp.MustCompile(`(?s)user: (\S+).*?publish: \[(.*?)\].*?subscribe: \[(.*?)\]`).FindAllStringSubmatch(string(source), -1)
	if len(users) != 4 {
		t.Fatalf("%s has %d users, want 4", conf, len(users))
	}
	used := map[string]bool{}
	for _, user := range users {
		for _, right := range []struct {
			verb    string
			allowed []string
			parties func(i int) []string
		}{
			{"publish", patterns(user[2]), func(i int) []string { return golden[i].from }},
			{"hear", patterns(user[3]), func(i int) []string { return golden[i].to }},
		} {
			for i, g := range golden {
				fits := func(pattern string) bool {
					used[right.verb+user[1]+pattern] = used[right.verb+user[1]+pattern] || matches(pattern, g.example)
					return matches(pattern, g.example)
				}
				may, wants := slices.ContainsFunc(right.allowed, fits), slices.Contains(right.parties(i), user[1])
				if may != wants {
					t.Errorf("%s may %s %s: %v, want %v", user[1], right.verb, g.row, may, wants)
				}
			}
			for _, pattern := range right.allowed {
				if !used[right.verb+user[1]+pattern] {
					t.Errorf("%s may %s %s, which is in no row of the table", user[1], right.verb, pattern)
				}
			}
		}
	}
}

// patterns gives the subjects of a list of permissions, without inboxes and the API of JetStream.
func patterns(section string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^\s*"([^"]+)"`).FindAllStringSubmatch(section, -1) {
		if !strings.HasPrefix(m[1], "_INBOX") && !strings.HasPrefix(m[1], "$JS.") {
			all = append(all, m[1])
		}
	}
	return all
}

// matches knows > as well, beside what subject.Match does.
func matches(pattern, s string) bool {
	if prefix, ok := strings.CutSuffix(pattern, ">"); ok {
		return strings.HasPrefix(s, prefix) && len(s) > len(prefix)
	}
	return subject.Match(pattern, s)
}
