package helmtest

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

func find[T any](t *testing.T, r *release, name string) T {
	t.Helper()
	for _, m := range r.all {
		if o, ok := m.object.(T); ok && m.name == name {
			return o
		}
	}
	var none T
	t.Fatalf("no %T %s", none, name)
	return none
}

// TestGatewayDrains: the grace covers leaving the endpoints, the drain window and the stop; a rollout never has fewer
// gateways than wanted; liveness asks for no dependency.
func TestGatewayDrains(t *testing.T) {
	r := newRelease(t, `gateway: {preStopSeconds: 5, drainSeconds: 30}`)
	d := find[*appsv1.Deployment](t, r, "demo-starling-gateway")
	if got := *d.Spec.Template.Spec.TerminationGracePeriodSeconds; got != 50 {
		t.Errorf("terminationGracePeriodSeconds = %d, want 50", got)
	}
	if got := d.Spec.Strategy.RollingUpdate; got.MaxUnavailable.IntValue() != 0 || got.MaxSurge.String() != "25%" {
		t.Errorf("rollingUpdate = %v, want maxUnavailable 0 and maxSurge 25%%", got)
	}
	c := d.Spec.Template.Spec.Containers[0]
	if got := c.Lifecycle.PreStop.Sleep.Seconds; got != 5 {
		t.Errorf("preStop sleep = %d, want 5", got)
	}
	if c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("probes = %s, %s, want /healthz and /readyz", c.LivenessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Path)
	}
	config := r.configs["demo-starling-gateway"].Data
	if config["DRAIN_WINDOW"] != "30s" || config["SHUTDOWN_TIMEOUT"] != "40s" {
		t.Errorf("DRAIN_WINDOW, SHUTDOWN_TIMEOUT = %s, %s, want 30s, 40s", config["DRAIN_WINDOW"], config["SHUTDOWN_TIMEOUT"])
	}
}

// TestTokenIssuers: the list reaches auth-service as the JSON that it takes, and is enough for making users of unknown ids.
func TestTokenIssuers(t *testing.T) {
	r := newRelease(t, `auth: {autoProvision: true, tokenIssuers: [{issuer: "https://id.example.com", audience: [a, b], shareUsers: true}]}`)
	const want = `[{"audience":["a","b"],"issuer":"https://id.example.com","shareUsers":true}]`
	if got := r.configs["demo-starling-auth"].Data["TOKEN_ISSUERS"]; got != want {
		t.Errorf("TOKEN_ISSUERS = %s, want %s", got, want)
	}
	if _, there := newRelease(t, ``).configs["demo-starling-auth"].Data["TOKEN_ISSUERS"]; there {
		t.Error("TOKEN_ISSUERS is there without tokenIssuers, want it absent")
	}
}

// TestLeastPrivilege: each service gets its own passwords, and none gets the right to change a schema.
func TestLeastPrivilege(t *testing.T) {
	allowed := map[string][]string{
		"gateway":  {"nats-gateway-password", "service-token", "service-tokens-gateway", "sid-secret"},
		"auth":     {"nats-auth-password", "service-token", "db-auth-password", "jwt-secret", "api-key", "key-encryption-secret"},
		"chat":     {"nats-chat-password", "service-token", "service-token-presence", "db-chat-password"},
		"presence": {"nats-presence-password", "service-token", "service-token-presence", "db-presence-password"},
	}
	for name, values := range map[string]string{"bundled": ``, "own engines": ownEngines} {
		r := newRelease(t, values)
		for component, keys := range allowed {
			d := find[*appsv1.Deployment](t, r, "demo-starling-"+component)
			for _, e := range d.Spec.Template.Spec.Containers[0].Env {
				if e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil {
					continue
				}
				if key := e.ValueFrom.SecretKeyRef.Key; !slices.Contains(keys, key) {
					t.Errorf("%s: %s gets the key %s, want one of %v", name, component, key, keys)
				}
			}
		}
	}
}

// TestMigrations: with an own PostgreSQL by a hook before anything else, with the bundled one in each pod, as the owner.
func TestMigrations(t *testing.T) {
	r := newRelease(t, ownEngines)
	for _, s := range []string{"auth", "chat", "presence"} {
		job := find[*batchv1.Job](t, r, "demo-starling-migrate-"+s)
		if got := job.Annotations["helm.sh/hook"]; got != "pre-install,pre-upgrade" {
			t.Errorf("%s: hook = %q, want pre-install,pre-upgrade", s, got)
		}
		checkMigrator(t, s, job.Spec.Template.Spec.Containers[0], "@db.infra:5432/starling?sslmode=require")
		if d := find[*appsv1.Deployment](t, r, "demo-starling-"+s); len(d.Spec.Template.Spec.InitContainers) != 0 {
			t.Errorf("%s: migrates twice", s)
		}
	}
	r = newRelease(t, ``)
	for _, s := range []string{"auth", "chat", "presence"} {
		d := find[*appsv1.Deployment](t, r, "demo-starling-"+s)
		checkMigrator(t, s, d.Spec.Template.Spec.InitContainers[0], "@demo-starling-postgresql:5432/starling?sslmode=disable")
		if got := r.configs["demo-starling-"+s].Data["DB_MIGRATE"]; got != "false" {
			t.Errorf("%s: DB_MIGRATE = %q, want false", s, got)
		}
	}
}

func checkMigrator(t *testing.T, service string, c corev1.Container, address string) {
	t.Helper()
	if !slices.Equal(c.Args, []string{"--migrate-only"}) {
		t.Errorf("%s: args = %v, want --migrate-only", service, c.Args)
	}
	i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "DATABASE_URL" })
	if want := "postgres://starling_" + service + "_owner:$(DB_PASSWORD)" + address; i < 0 || c.Env[i].Value != want {
		t.Errorf("%s: DATABASE_URL = %v, want %s", service, c.Env, want)
	}
}

// TestOnlyTheGatewayIsOpen: no policy but the gateway's admits peers from everywhere.
func TestOnlyTheGatewayIsOpen(t *testing.T) {
	r := newRelease(t, ``)
	for _, m := range r.all {
		p, ok := m.object.(*networkingv1.NetworkPolicy)
		if !ok {
			continue
		}
		for _, in := range p.Spec.Ingress {
			if open := len(in.From) == 0; open && p.Name != "demo-starling-gateway" {
				t.Errorf("NetworkPolicy %s admits everyone", p.Name)
			}
		}
	}
	for _, s := range []string{"gateway", "auth", "chat", "presence", "nats", "postgresql", "default"} {
		find[*networkingv1.NetworkPolicy](t, r, "demo-starling-"+s)
	}
}

// TestNotesTellOfProxies: an ingress that is not named would make all clients one address, which somebody has to be told.
func TestNotesTellOfProxies(t *testing.T) {
	for warned, gateway := range map[bool]string{true: "{}", false: "{trustedProxies: [10.42.0.0/16]}"} {
		files, err := render(t, "{ingress: {enabled: true, hosts: [chat.example.com]}, gateway: "+gateway+"}")
		if err != nil {
			t.Fatal(err)
		}
		if notes := files["starling/templates/NOTES.txt"]; strings.Contains(notes, "gateway.trustedProxies is empty") != warned {
			t.Errorf("with gateway %s: notes = %q, want a warning: %v", gateway, notes, warned)
		}
	}
}

// TestNotes: what the user is told is rendered too, and asks for nothing that is not there.
func TestNotes(t *testing.T) {
	for name, values := range matrix {
		files, err := render(t, values)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		notes := files["starling/templates/NOTES.txt"]
		if !strings.Contains(notes, "Starling") || strings.Contains(notes, "<no value>") {
			t.Errorf("%s: notes = %q", name, notes)
		}
	}
}
