package authservice

import (
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/proto/caller"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// token is one of the operator's own login system; issued is seconds ago, name and role may be "".
func token(t *testing.T, user, name, role string, issued int) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": user, "iat": time.Now().Unix() - int64(issued)}
	if name != "" {
		claims["name"] = name
	}
	if role != "" {
		claims["role"] = role
	}
	return signedClaims(t, claims)
}

func signedClaims(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	claims["exp"] = time.Now().Add(time.Hour).Unix()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(jwtSecret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// connect is a socket that connects.
func connect(t *testing.T, client authv1.AuthServiceClient, token string) *eventv1.Identity {
	t.Helper()
	answer, err := client.Authenticate(t.Context(), &authv1.AuthenticateRequest{Token: token, Connecting: true})
	if err != nil {
		t.Fatalf("Authenticate(connecting): %v", err)
	}
	return answer.GetIdentity()
}

// chatService takes in names as chat-service does, and gives those that it was told.
func chatService(t *testing.T, s *system) (*nats.Subscription, <-chan *eventv1.UserName) {
	t.Helper()
	told := make(chan *eventv1.UserName, 100)
	sub, err := s.nc.QueueSubscribe(subject.Named, "chat-service", func(msg *nats.Msg) {
		var names eventv1.UserNames
		if err := proto.Unmarshal(msg.Data, &names); err != nil {
			t.Error(err)
		}
		for _, n := range names.GetNames() {
			told <- n
		}
		_ = msg.Respond(nil)
	})
	if err == nil {
		err = s.nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return sub, told
}

func nextName(t *testing.T, told <-chan *eventv1.UserName) *eventv1.UserName {
	t.Helper()
	select {
	case n := <-told:
		return n
	case <-time.After(30 * time.Second):
		t.Fatal("no name was announced in 30s")
		return nil
	}
}

// await waits until a name is announced.
func await(t *testing.T, told <-chan *eventv1.UserName, name string) {
	t.Helper()
	for nextName(t, told).GetName() != name {
		continue
	}
}

// TestNames: a user is called as the newest token says with which a socket connected, on every replica.
func TestNames(t *testing.T) {
	s := newSystem(t)
	_, told := chatService(t, s)
	here, there := start(t, s.config(t)), start(t, s.config(t))
	last := int64(0)
	for i, step := range []struct {
		client  authv1.AuthServiceClient
		token   string
		want    string // the name then
		changed bool
	}{
		{here, token(t, "u", "Ann", "", 100), "Ann", true}, // a new user
		{there, token(t, "u", "Anna", "", 80), "Anna", true},
		{here, token(t, "u", "Anna", "", 80), "Anna", false},
		{here, token(t, "u", "Ann", "", 100), "Anna", false},      // an older one, on a device that still has it
		{there, token(t, "u", "Old", "", 90), "Anna", false},      // an older one that comes late
		{there, token(t, "u", "", "", 70), "Anna", false},         // says nothing
		{here, token(t, "u", "Annie", "", 60), "Annie", true},     //
		{there, token(t, "u", "An", "", 60), "An", true},          // of the same second: the last one to come
		{here, token(t, "u", "An", "", 40), "An", false},          // changes nothing
		{there, token(t, "u", "Anne", "", 50), "An", false},       // so that this one is past
		{there, token(t, "u", " A\u202en ", "", 30), "An", false}, // the same, as it is shown
		{here, signedClaims(t, jwt.MapClaims{"sub": "u", "name": "Timeless"}), "An", false},
	} {
		got := connect(t, step.client, step.token)
		if got.GetName() != step.want || step.changed != (got.GetNameVersion() > last) || got.GetNameVersion() < last && got.GetName() == step.want {
			t.Errorf("step %d: connected as %s, version %d after %d, want %s, changed %v", i, got.GetName(), got.GetNameVersion(), last, step.want, step.changed)
		}
		if i == 0 { // announced by and by: it comes with the socket
			await(t, told, "Ann")
			last = got.GetNameVersion()
			continue
		}
		if step.changed {
			last = got.GetNameVersion()
			// It was announced before the socket was let in; those before may have been announced twice.
			var n *eventv1.UserName
			for len(told) > 0 && n.GetVersion() != last {
				n = <-told
			}
			if n.GetUserId() != "u" || n.GetName() != step.want || n.GetVersion() != last {
				t.Errorf("step %d: announced %v, want u, %s, %d", i, n, step.want, last)
			}
		}
	}
	// Only a socket that connects changes it: neither auth:refresh nor REST.
	if identity, err := authenticate(t, here, token(t, "u", "Eve", "", 0)); err != nil || identity.GetName() != "Eve" || identity.GetNameVersion() != 0 {
		t.Errorf("Authenticate(not connecting) = %v, %v, want Eve, as before there were versions", identity, err)
	}
	restarted := start(t, s.config(t))
	users, err := restarted.GetUsers(t.Context(), &authv1.GetUsersRequest{UserIds: []string{"u"}})
	if err != nil || len(users.GetUsers()) != 1 || users.GetUsers()[0].GetName() != "An" {
		t.Errorf("GetUsers() = %v, %v, want An", users, err)
	}
	if got := connect(t, restarted, token(t, "u", "Ann", "", 100)); got.GetName() != "An" || got.GetNameVersion() != last {
		t.Errorf("connected as %v with an old token, want An, %d", got, last)
	}
	// Tokens that do not say when they were issued: the last one to come.
	for _, name := range []string{"one", "two", "one"} {
		if got := connect(t, here, signedClaims(t, jwt.MapClaims{"sub": "timeless", "name": name})); got.GetName() != name {
			t.Errorf("connected as %s, want %s", got.GetName(), name)
		}
	}
	// Who registered here is called as a foreign token says, and stays what it is.
	ann := register(t, here, "ann")
	id := ann.GetUser().GetId()
	if got := connect(t, here, token(t, id, "Zoë", "admin", 5)); got.GetName() != "Zoë" || got.GetRole() != "admin" {
		t.Errorf("connected as %v, want Zoë, admin", got)
	}
	if got := connect(t, there, ann.GetAccessToken()); got.GetName() != "Zoë" || got.GetRole() != "user" || got.GetNameVersion() == 0 {
		t.Errorf("connected as %v, want Zoë, user", got)
	}
}

// TestRoleOfNewestToken: a token that names no role has the one that the newest one named, not that of the first.
func TestRoleOfNewestToken(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	for i, step := range []struct{ token, want string }{
		{token(t, "u", "U", "admin", 100), "admin"},
		{token(t, "u", "U", "", 90), "admin"},
		{token(t, "u", "U", "user", 80), "user"},
		{token(t, "u", "U", "", 70), "user"},
		{token(t, "u", "U", "admin", 100), "admin"}, // still good, and speaks for itself
		{token(t, "u", "U", "", 60), "user"},
	} {
		if got := connect(t, client, step.token); got.GetRole() != step.want {
			t.Errorf("step %d: connected as %s, want %s", i, got.GetRole(), step.want)
		}
	}
}

// TestNamesWhileNobodyListens: names that nobody took, or nobody confirmed, are announced until somebody does, also by another replica.
func TestNamesWhileNobodyListens(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	const users = 130 // more than fit into one announcement
	for i := range users {
		user := fmt.Sprint("u", i)
		connect(t, client, token(t, user, "before", "", 100))
		connect(t, client, token(t, user, "after", "", 50))
	}
	deaf, err := s.nc.QueueSubscribeSync(subject.Named, "chat-service") // listens, and does not answer
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deaf.NextMsg(30 * time.Second); err != nil {
		t.Fatalf("announced again: %v", err)
	}
	if err := deaf.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	sub, told := chatService(t, s)
	heard := map[string]bool{}
	for len(heard) < users {
		n := nextName(t, told)
		if n.GetName() != "after" || n.GetVersion() == 0 {
			t.Fatalf("announced %v, want after", n)
		}
		heard[n.GetUserId()] = true
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var left int
		if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM users WHERE NOT name_announced`).Scan(&left); err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d names are still not marked as announced", left)
		}
	}
	_ = sub.Unsubscribe()
}

// TestNamesByBackends: a name that a backend gives is announced, and holds until a newer token says another; so is what is left of
// who is deleted.
func TestNamesByBackends(t *testing.T) {
	s := newSystem(t)
	_, told := chatService(t, s)
	client, manage := startBoth(t, s.config(t))
	backend := withScopes(t, caller.ScopeUsers)
	connect(t, client, token(t, "u", "Ann", "", 100))
	name, again := "Anna", "Annie"
	if _, err := manage.UpdateUser(backend, &authv1.UpdateUserRequest{UserId: "u", Name: &name}); err != nil {
		t.Fatal(err)
	}
	await(t, told, name)
	if got := connect(t, client, token(t, "u", "Ann", "", 50)); got.GetName() != name || got.GetNameVersion() == 0 {
		t.Errorf("connected as %v with a token of before, want %s", got, name)
	}
	if _, err := manage.UpsertUsers(backend, &authv1.UpsertUsersRequest{Users: []*authv1.UserUpsert{{Id: "u", Name: &again}}}); err != nil {
		t.Fatal(err)
	}
	await(t, told, again)
	if got := connect(t, client, token(t, "u", "An", "", -5)); got.GetName() != "An" { // the clocks may differ
		t.Errorf("connected as %v with a token of later, want An", got)
	}
	await(t, told, "An")
	if _, err := manage.DeleteUser(backend, &authv1.DeleteUserRequest{UserId: "u"}); err != nil {
		t.Fatal(err)
	}
	await(t, told, "Deleted user")
}

// TestNamesOfNewUsers: chat-service hears of everybody who has a name, whoever made the user, before the first connection; and of those
// of before, once. Who has no name but the id needs none.
func TestNamesOfNewUsers(t *testing.T) {
	s := newSystem(t)
	if _, err := s.pool.Exec(t.Context(), `INSERT INTO users (id, name, role, name_announced) VALUES ('old', 'Old', 'user', false)`); err != nil {
		t.Fatal(err) // as the migration leaves who was there before
	}
	_, told := chatService(t, s)
	cfg := s.config(t)
	cfg.DemoUsers = []DemoUser{{Username: "seeded", Password: "seeded-password", Name: "Seeded"}}
	client, manage := startBoth(t, cfg)
	if _, err := client.Register(t.Context(), &authv1.RegisterRequest{Username: "ann", Password: password, Name: "Registered"}); err != nil {
		t.Fatal(err)
	}
	if _, err := manage.UpsertUsers(withScopes(t, caller.ScopeUsers), &authv1.UpsertUsersRequest{Users: []*authv1.UserUpsert{
		{Id: "crm|1", Name: new("Upserted")}, {Id: "nameless"},
	}}); err != nil {
		t.Fatal(err)
	}
	versions := map[string]int64{}
	for versions["Upserted"] == 0 { // before the answer
		select {
		case n := <-told:
			versions[n.GetName()] = n.GetVersion()
		default:
			t.Fatalf("announced %v when the users are made, want Upserted among them", versions)
		}
	}
	connect(t, client, token(t, "crm|2", "Provisioned", "", 100))
	for len(versions) < 5 {
		n := nextName(t, told)
		versions[n.GetName()] = n.GetVersion()
	}
	for _, name := range []string{"Old", "Seeded", "Registered", "Upserted", "Provisioned"} {
		if version, ok := versions[name]; !ok || (version == 0) != (name == "Old") {
			t.Errorf("announced %v, want %s with its version", versions, name)
		}
	}
}
