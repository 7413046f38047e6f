package helmtest

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	sigsyaml "sigs.k8s.io/yaml"
)

var components = []string{"gateway", "auth", "chat", "presence"}

// deployments renders as an upgrade does in a cluster with what is there, and returns the Deployments by component.
func deployments(t *testing.T, values string, there ...runtime.Object) map[string]*appsv1.Deployment {
	t.Helper()
	files, err := renderWith(t, values, there...)
	if err != nil {
		t.Fatalf("render(%q) = %v", values, err)
	}
	found := map[string]*appsv1.Deployment{}
	for _, file := range []string{"gateway", "services"} {
		for _, document := range strings.Split(files["starling/templates/"+file+".yaml"], "\n---\n") {
			var d appsv1.Deployment
			if err := sigsyaml.Unmarshal([]byte(document), &d); err != nil {
				t.Fatal(err)
			}
			if d.Kind == "Deployment" {
				found[strings.TrimPrefix(d.Name, "demo-starling-")] = &d
			}
		}
	}
	return found
}

func secretOf(name string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "chat"}, Data: map[string][]byte{}}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	return s
}

// rolled names the components whose pods are made anew from one rendering to the next.
func rolled(before, after map[string]*appsv1.Deployment) []string {
	var names []string
	for _, c := range components {
		a, _ := sigsyaml.Marshal(before[c].Spec.Template)
		b, _ := sigsyaml.Marshal(after[c].Spec.Template)
		if string(a) != string(b) {
			names = append(names, c)
		}
	}
	return names
}

// TestReplicasUnderAutoscaling: an upgrade that turns autoscaling on takes no pod away, and a first install begins with the fewest.
// Without a number Kubernetes would put 1.
func TestReplicasUnderAutoscaling(t *testing.T) {
	const on = `
gateway: {replicas: 2, autoscaling: {enabled: true, minReplicas: 3}}
chat: {autoscaling: {enabled: true, minReplicas: 2}}
`
	living := func(component string, replicas int32) *appsv1.Deployment {
		return &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: metav1.ObjectMeta{Name: "demo-starling-" + component, Namespace: "chat"}, Spec: appsv1.DeploymentSpec{Replicas: &replicas}}
	}
	for name, tc := range map[string]struct {
		there         []runtime.Object
		gateway, chat int32
	}{
		"first install": {nil, 3, 2},
		"more":          {[]runtime.Object{living("gateway", 7), living("chat", 5)}, 7, 5},
		"fewer":         {[]runtime.Object{living("gateway", 1), living("chat", 1)}, 3, 2},
		"another's":     {[]runtime.Object{living("auth", 9)}, 3, 2},
	} {
		got := deployments(t, on, tc.there...)
		for component, want := range map[string]int32{"gateway": tc.gateway, "chat": tc.chat, "auth": 2} {
			if r := got[component].Spec.Replicas; r == nil || *r != want {
				t.Errorf("%s: replicas of %s = %v, want %d", name, component, r, want)
			}
		}
	}
}

// TestOnlyWhatChangedRolls: a secret, wherever it lies, and a setting reach the pods that use them with the upgrade, and those alone;
// what is of no concern to pods rolls none.
func TestOnlyWhatChangedRolls(t *testing.T) {
	made := map[string]string{}
	for _, key := range strings.Fields("service-token service-token-presence api-key key-encryption-secret nats-gateway-password nats-auth-password nats-chat-password nats-presence-password postgres-password db-auth-owner-password db-chat-owner-password db-presence-owner-password db-auth-password db-chat-password db-presence-password") {
		made[key] = "what " + key + " was before"
	}
	changed := func(key string) map[string]string {
		other := map[string]string{}
		for k, v := range made {
			other[k] = v
		}
		other[key] = "something else"
		return other
	}
	own := func(data map[string]string) runtime.Object { return secretOf("starling-secrets", data) }
	ours := func(data map[string]string) runtime.Object { return secretOf("demo-starling", data) }
	for name, tc := range map[string]struct {
		before, after string
		was, is       runtime.Object
		want          []string
	}{
		"nothing":                      {``, ``, ours(made), ours(made), nil},
		"jwtSecret":                    {`secrets: {jwtSecret: 0123456789abcdef0123456789abcdef}`, `secrets: {jwtSecret: 0123456789abcdef0123456789abcdeX}`, ours(made), ours(made), []string{"auth"}},
		"jwtSecret for the first time": {``, `secrets: {jwtSecret: 0123456789abcdef0123456789abcdef}`, ours(made), ours(made), []string{"auth"}},
		"a token of the chart's":       {``, ``, ours(made), ours(changed("service-token")), components},
		"a token of presence":          {``, ``, ours(made), ours(changed("service-token-presence")), []string{"chat", "presence"}},
		"own token":                    {ownEngines, ownEngines, own(made), own(changed("service-token-presence")), []string{"chat", "presence"}},
		"own database password":        {ownEngines, ownEngines, own(made), own(changed("db-chat-password")), []string{"chat"}},
		"own jwt-secret, added":        {ownEngines, ownEngines, own(made), own(changed("jwt-secret")), []string{"auth"}},
		"own sid-secret, added":        {ownEngines, ownEngines, own(made), own(changed("sid-secret")), []string{"gateway"}},
		"of no concern":                {ownEngines, ownEngines, own(made), own(changed("somebody-elses")), nil},
		"a setting":                    {``, `chat: {settings: {CHAT_BROADCAST: admin}}`, ours(made), ours(made), []string{"chat"}},
		"a setting of all":             {``, `logging: {level: debug}`, ours(made), ours(made), components},
		"more pods":                    {``, `gateway: {replicas: 9}`, ours(made), ours(made), nil},
		"autoscaling":                  {``, `gateway: {autoscaling: {enabled: true}, pdb: {maxUnavailable: 2}}`, ours(made), ours(made), nil},
	} {
		if got := rolled(deployments(t, tc.before, tc.was), deployments(t, tc.after, tc.is)); !slices.Equal(got, tc.want) {
			t.Errorf("%s: rolls %v, want %v", name, got, tc.want)
		}
	}
}

// TestFirstUpgradeRollsNothing: what an install drew at random is what the pods' checksums were made of.
func TestFirstUpgradeRollsNothing(t *testing.T) {
	files, err := renderWith(t, ``)
	if err != nil {
		t.Fatal(err)
	}
	var secret corev1.Secret
	if err := sigsyaml.Unmarshal([]byte(files["starling/templates/secret.yaml"]), &secret); err != nil {
		t.Fatal(err)
	}
	secret.Namespace = "chat"
	upgraded, err := renderWith(t, ``, &secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, before := range files {
		if name != "starling/templates/NOTES.txt" && upgraded[name] != before {
			t.Errorf("%s changes with the first upgrade", name)
		}
	}
}

// TestPoliciesBeforeMigrations: in a namespace where nothing passes, a migration reaches DNS and PostgreSQL: its policy is there before
// its Job, and the policies of the release come only after it.
func TestPoliciesBeforeMigrations(t *testing.T) {
	r := newRelease(t, ownEngines)
	for _, s := range []string{"auth", "chat", "presence"} {
		p := find[*networkingv1.NetworkPolicy](t, r, "demo-starling-migrate-"+s)
		if p.Annotations["helm.sh/hook"] != "pre-install,pre-upgrade" || !strings.HasPrefix(p.Annotations["helm.sh/hook-weight"], "-") {
			t.Errorf("NetworkPolicy %s: annotations = %v, want a hook before the Job", p.Name, p.Annotations)
		}
		ports := map[int32]bool{}
		for _, out := range p.Spec.Egress {
			for _, port := range out.Ports {
				ports[port.Port.IntVal] = true
			}
		}
		if !ports[53] || !ports[5432] {
			t.Errorf("NetworkPolicy %s opens %v, want 53 and 5432", p.Name, ports)
		}
	}
}

// TestOwners: the role that migrates a schema has a password of its own, which is in that migration's reach alone. A Secret of before,
// the chart's or one's own, has one for all of them, and is taken as it is.
func TestOwners(t *testing.T) {
	keyOf := func(c corev1.Container) string {
		for _, e := range c.Env {
			if e.Name == "DB_PASSWORD" {
				return e.ValueFrom.SecretKeyRef.Key
			}
		}
		return ""
	}
	for _, component := range []string{"auth", "chat", "presence"} {
		want := "db-" + component + "-owner-password"
		r := newRelease(t, ``)
		if got := keyOf(find[*appsv1.Deployment](t, r, "demo-starling-"+component).Spec.Template.Spec.InitContainers[0]); got != want {
			t.Errorf("%s migrates with %s, want %s", component, got, want)
		}
		job := find[*batchv1.Job](t, newRelease(t, ownEngines), "demo-starling-migrate-"+component)
		if got := keyOf(job.Spec.Template.Spec.Containers[0]); got != want {
			t.Errorf("the Job of %s migrates with %s, want %s", component, got, want)
		}
	}
	old := map[string]string{}
	for _, key := range strings.Fields("service-token service-token-presence key-encryption-secret nats-gateway-password nats-auth-password nats-chat-password nats-presence-password postgres-password db-owner-password db-auth-password db-chat-password db-presence-password") {
		old[key] = "what " + key + " was before"
	}
	files, err := renderWith(t, ``, secretOf("demo-starling", old))
	if err != nil {
		t.Fatal(err)
	}
	var secret corev1.Secret
	if err := sigsyaml.Unmarshal([]byte(files["starling/templates/secret.yaml"]), &secret); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"db-auth-owner-password", "db-chat-owner-password", "db-presence-owner-password", "db-owner-password"} {
		if string(secret.Data[key]) != old["db-owner-password"] {
			t.Errorf("%s = %q after an upgrade, want the password that PostgreSQL knows", key, secret.Data[key])
		}
	}
	files, err = renderWith(t, ownEngines, secretOf("starling-secrets", old))
	if err != nil || strings.Count(files["starling/templates/migrate.yaml"], "key: db-owner-password") != 3 {
		t.Errorf("with a Secret of before: %v, %s", err, files["starling/templates/migrate.yaml"])
	}
}

// TestSeed: with a seed a chart that is rendered without the cluster is the same each time, and another one for another seed; what the
// cluster has already stays.
func TestSeed(t *testing.T) {
	const seed = `{secrets: {seed: 0123456789abcdef0123456789abcdef}, auth: {settings: {ADMIN_USERNAME: root}}}`
	once := newRelease(t, seed).secrets["demo-starling"].Data
	again := newRelease(t, seed).secrets["demo-starling"].Data
	other := newRelease(t, strings.Replace(seed, "cdef}", "cdeX}", 1)).secrets["demo-starling"].Data
	values := map[string]string{}
	for key, value := range once {
		if len(value) < 32 || string(again[key]) != string(value) || string(other[key]) == string(value) {
			t.Errorf("%s = %q, then %q, and with another seed %q", key, value, again[key], other[key])
		}
		if same, taken := values[string(value)]; taken {
			t.Errorf("%s has the value of %s", key, same)
		}
		values[string(value)] = key
	}
	if len(once) < 15 {
		t.Errorf("the Secret has %d keys, want all", len(once))
	}
	files, err := renderWith(t, seed, secretOf("demo-starling", map[string]string{"service-token": "what it was before"}))
	if err != nil || !strings.Contains(files["starling/templates/secret.yaml"], base64.StdEncoding.EncodeToString([]byte("what it was before"))) {
		t.Errorf("a token that the cluster has is not kept: %v", err)
	}
}
