package helmtest

import (
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
	sigsyaml "sigs.k8s.io/yaml"
)

// cluster is where Helm looks objects up.
type cluster struct{ client *fake.FakeDynamicClient }

func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	version, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, false, err
	}
	plural, _ := meta.UnsafeGuessKindToResource(version.WithKind(kind))
	return c.client.Resource(plural), true, nil
}

// renderWith renders as Helm does in a cluster in which some objects are there already.
func renderWith(t *testing.T, values string, there ...runtime.Object) (map[string]string, error) {
	t.Helper()
	vals := map[string]any{}
	if err := sigsyaml.Unmarshal([]byte(values), &vals); err != nil {
		t.Fatal(err)
	}
	all, err := util.ToRenderValues(loadChart(t), vals, common.ReleaseOptions{Name: "demo", Namespace: "chat", IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	return engine.RenderWithClientProvider(loadChart(t), all, cluster{fake.NewSimpleDynamicClient(scheme.Scheme, there...)})
}

// renderIn renders as `helm install` does in a cluster that has a Secret with keys.
func renderIn(t *testing.T, values, secret string, keys ...string) (map[string]string, error) {
	t.Helper()
	data := map[string]string{}
	for _, key := range keys {
		data[key] = "what it was before"
	}
	return renderWith(t, values, secretOf(secret, data))
}

// TestExistingSecret: a Secret of one's own is looked at before anything is changed, and what it lacks is named.
func TestExistingSecret(t *testing.T) {
	all := []string{
		"service-token", "service-token-presence", "key-encryption-secret", "db-auth-owner-password", "db-chat-owner-password", "db-presence-owner-password", "db-auth-password", "db-chat-password", "db-presence-password",
		"nats-gateway-password", "nats-auth-password", "nats-chat-password", "nats-presence-password",
	}
	without := func(keys ...string) (left []string) {
		for _, key := range all {
			if !strings.Contains(strings.Join(keys, " ")+" ", key+" ") {
				left = append(left, key)
			}
		}
		return left
	}
	for name, tc := range map[string]struct {
		values string
		keys   []string
		want   []string // nothing: it is taken
	}{
		"all":                  {``, all, nil},
		"no encryption":        {``, without("key-encryption-secret"), []string{"key-encryption-secret", "openssl", "secrets.encryptSigningKeys=false"}},
		"none wanted":          {`secrets: {existingSecret: starling-secrets, encryptSigningKeys: false}`, without("key-encryption-secret"), nil},
		"one token for all":    {``, without("service-token-presence"), []string{"lacks the keys service-token-presence"}},
		"one owner's missing":  {``, without("db-chat-owner-password"), []string{"lacks the keys db-chat-owner-password"}},
		"one for all owners":   {``, append(without("db-auth-owner-password", "db-chat-owner-password", "db-presence-owner-password"), "db-owner-password"), nil},
		"several":              {``, without("db-chat-password", "nats-auth-password"), []string{"db-chat-password", "nats-auth-password"}},
		"credentials instead":  {`nats: {credsSecret: nats, url: "nats://nats.infra:4222", bundled: {enabled: false}}`, without("nats-gateway-password", "nats-auth-password", "nats-chat-password", "nats-presence-password"), nil},
		"the bundled database": {`postgresql: {bundled: {enabled: true}}`, all, []string{"postgres-password"}},
	} {
		vals := map[string]any{}
		if err := sigsyaml.Unmarshal([]byte(ownEngines), &vals); err != nil {
			t.Fatal(err)
		}
		own := map[string]any{}
		if err := sigsyaml.Unmarshal([]byte(tc.values), &own); err != nil {
			t.Fatal(err)
		}
		for key, value := range own {
			vals[key] = value
		}
		text, err := sigsyaml.Marshal(vals)
		if err != nil {
			t.Fatal(err)
		}
		_, err = renderIn(t, string(text), "starling-secrets", tc.keys...)
		if (err == nil) != (tc.want == nil) {
			t.Errorf("%s: %v, want an error: %v", name, err, tc.want != nil)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
		// Helm does not always see the Secret; then it says what the pods will wait for.
		if _, err := renderIn(t, string(text), "another", tc.keys...); err != nil {
			t.Errorf("%s: without the Secret: %v, want it rendered", name, err)
		}
	}
}

// TestUpgradeKeepsSecrets: values that an older version of the chart made stay, and what it had not is added.
func TestUpgradeKeepsSecrets(t *testing.T) {
	files, err := renderIn(t, ``, "demo-starling", "service-token", "key-encryption-secret")
	if err != nil {
		t.Fatal(err)
	}
	var secret corev1.Secret
	if err := sigsyaml.Unmarshal([]byte(files["starling/templates/secret.yaml"]), &secret); err != nil {
		t.Fatal(err)
	}
	if got := string(secret.Data["service-token"]); got != "what it was before" {
		t.Errorf("service-token = %q, want it kept", got)
	}
	if got := string(secret.Data["service-token-presence"]); len(got) < 16 || got == "what it was before" {
		t.Errorf("service-token-presence = %q, want a new one", got)
	}
}

// TestCallers: who calls shows a token of its own, and who is called knows those of its callers only.
func TestCallers(t *testing.T) {
	for _, values := range []string{``, ownEngines} {
		r := newRelease(t, values)
		for component, want := range map[string]struct{ shown, known string }{
			"gateway":  {"service-token", ""},
			"auth":     {"", "gateway=$(GATEWAY_SERVICE_TOKEN)"},
			"chat":     {"", "gateway=$(GATEWAY_SERVICE_TOKEN),presence-service=$(PRESENCE_SERVICE_TOKEN)"},
			"presence": {"service-token-presence", "gateway=$(GATEWAY_SERVICE_TOKEN)"},
		} {
			d := find[*appsv1.Deployment](t, r, "demo-starling-"+component)
			keys := map[string]string{}
			for _, e := range d.Spec.Template.Spec.Containers[0].Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					keys[e.Name] = e.ValueFrom.SecretKeyRef.Key
				} else {
					keys[e.Name] = e.Value
				}
			}
			if component == "gateway" {
				want.known = "service-tokens-gateway"
			}
			if keys["SERVICE_TOKEN"] != want.shown || keys["SERVICE_TOKENS"] != want.known {
				t.Errorf("%s: shows %q and knows %q, want %q and %q", component, keys["SERVICE_TOKEN"], keys["SERVICE_TOKENS"], want.shown, want.known)
			}
		}
		if got, ok := r.configs["demo-starling-gateway"].Data["GRPC_LISTEN"]; !ok || got != "" {
			t.Errorf("GRPC_LISTEN of gateways = %q, %v, want it off", got, ok)
		}
	}
	if r := newRelease(t, `gateway: {settings: {GRPC_LISTEN: ":7004"}}`); r.configs["demo-starling-gateway"].Data["GRPC_LISTEN"] != ":7004" {
		t.Errorf("GRPC_LISTEN of gateways = %q, want what the values say", r.configs["demo-starling-gateway"].Data["GRPC_LISTEN"])
	}
}

// TestFiles: certificates and credentials are mounted where the settings look for them, and each service gets its own credentials.
func TestFiles(t *testing.T) {
	r := newRelease(t, `
secrets: {existingSecret: starling-secrets}
tls: {secret: grpc-tls}
nats: {url: "nats://nats.infra:4222", tls: {secret: nats-tls, clientCert: true}, credsSecret: nats-creds, bundled: {enabled: false}}
`)
	for _, component := range []string{"gateway", "auth", "chat", "presence"} {
		d := find[*appsv1.Deployment](t, r, "demo-starling-"+component)
		mounts := map[string]string{}
		for _, m := range d.Spec.Template.Spec.Containers[0].VolumeMounts {
			mounts[m.MountPath] = m.Name
		}
		volumes := map[string]*corev1.SecretVolumeSource{}
		for _, v := range d.Spec.Template.Spec.Volumes {
			volumes[v.Name] = v.Secret
		}
		config := r.configs["demo-starling-"+component].Data
		for setting, want := range map[string]struct{ file, secret string }{
			"GRPC_TLS_CERT": {"tls.crt", "grpc-tls"}, "GRPC_TLS_KEY": {"tls.key", "grpc-tls"}, "GRPC_TLS_CA": {"ca.crt", "grpc-tls"},
			"NATS_TLS_CERT": {"tls.crt", "nats-tls"}, "NATS_TLS_KEY": {"tls.key", "nats-tls"}, "NATS_TLS_CA": {"ca.crt", "nats-tls"},
			"NATS_CREDS": {component + ".creds", "nats-creds"},
		} {
			i := strings.LastIndex(config[setting], "/")
			if i < 0 || config[setting][i+1:] != want.file {
				t.Errorf("%s: %s = %q, want a file %s", component, setting, config[setting], want.file)
				continue
			}
			volume := volumes[mounts[config[setting][:i]]]
			if volume == nil || volume.SecretName != want.secret {
				t.Errorf("%s: %s is in %v, want the Secret %s", component, setting, volume, want.secret)
			}
		}
		if config["GRPC_TLS_CLIENT_CERTS"] != "true" || config["NATS_USER"] != "" {
			t.Errorf("%s: GRPC_TLS_CLIENT_CERTS, NATS_USER = %q, %q", component, config["GRPC_TLS_CLIENT_CERTS"], config["NATS_USER"])
		}
		if items := volumes["nats-creds"].Items; len(items) != 1 || items[0].Key != component+".creds" {
			t.Errorf("%s: gets the credentials %v, want its own only", component, items)
		}
	}
}

// TestSecondValues: the second value of a secret that is being replaced reaches the service that it is for, and not its migration, which has
// none of the first ones and refuses a second one alone.
func TestSecondValues(t *testing.T) {
	const rotation = `
auth: {extraEnv: [{name: JWT_SECRET_OTHER, valueFrom: {secretKeyRef: {name: next, key: jwt-secret}}}, {name: PGSSLCERT, value: /own/tls.crt}]}
chat: {extraEnv: [{name: NATS_PASSWORD_OTHER_FILE, value: /next/nats}, {name: PGSSLCERT, value: /own/tls.crt}]}
presence: {extraEnv: [{name: NATS_PASSWORD_OTHER, value: next}, {name: PGSSLCERT, value: /own/tls.crt}]}
`
	second := map[string]string{"auth": "JWT_SECRET_OTHER", "chat": "NATS_PASSWORD_OTHER_FILE", "presence": "NATS_PASSWORD_OTHER"}
	has := func(c corev1.Container, name string) bool {
		return slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
	}
	for name, values := range map[string]string{"bundled": rotation, "own engines": ownEngines + rotation} {
		r := newRelease(t, values)
		for component, variable := range second {
			pod := find[*appsv1.Deployment](t, r, "demo-starling-"+component).Spec.Template.Spec
			migrations := pod.InitContainers
			if name == "own engines" {
				migrations = find[*batchv1.Job](t, r, "demo-starling-migrate-"+component).Spec.Template.Spec.Containers
			}
			if len(migrations) != 1 {
				t.Fatalf("%s: %s has %d migrations, want one", name, component, len(migrations))
			}
			if !has(pod.Containers[0], variable) || has(migrations[0], variable) {
				t.Errorf("%s: %s reaches %s: %v, its migration: %v, want the first alone", name, variable, component, has(pod.Containers[0], variable), has(migrations[0], variable))
			}
			if !has(migrations[0], "PGSSLCERT") {
				t.Errorf("%s: PGSSLCERT does not reach %s's migration", name, component)
			}
		}
	}
}

// TestDigests: an image with a digest is that one, whatever its tag.
func TestDigests(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	r := newRelease(t, `image: {registry: registry.example.com, tag: "1.2.3", digests: {chat-service: "`+digest+`"}}`)
	for component, want := range map[string]string{
		"chat": "registry.example.com/starling/chat-service:1.2.3@" + digest, "auth": "registry.example.com/starling/auth-service:1.2.3",
	} {
		spec := find[*appsv1.Deployment](t, r, "demo-starling-"+component).Spec.Template.Spec
		if spec.Containers[0].Image != want || spec.InitContainers[0].Image != want {
			t.Errorf("%s: images = %s, %s, want %s", component, spec.Containers[0].Image, spec.InitContainers[0].Image, want)
		}
	}
}
