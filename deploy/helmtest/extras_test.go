package helmtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// serviceOf gives the service that runs as a component of the chart.
func serviceOf(component string) string {
	if component == "gateway" {
		return component
	}
	return component + "-service"
}

// TestSettingsAreAnEnum: `settings` takes the settings that a service has, and no other name.
func TestSettingsAreAnEnum(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			Properties struct {
				Settings struct{ PropertyNames struct{ Enum []string } }
			}
		}
	}
	if err := json.Unmarshal(readChart(t, "values.schema.json"), &schema); err != nil {
		t.Fatal(err)
	}
	for _, component := range components {
		want := map[string]bool{}
		for _, s := range slices.Concat(settings(t, serviceOf(component)), tagged(read(t, "../../platform/run/main.go"), nil)) {
			want[s.env] = true
		}
		names := slices.Sorted(maps.Keys(want))
		if got := schema.Properties[component].Properties.Settings.PropertyNames.Enum; !slices.Equal(got, names) {
			t.Errorf("values.schema.json, %s.settings: propertyNames.enum = %q, want the settings of %s: %q", component, got, serviceOf(component), names)
		}
	}
}

// TestSettingsOfTheChart: what the chart sets itself is refused among the settings and the further variables, with what to use instead;
// it would break the chart without a word, as DRAIN_WINDOW breaks the rule of the three times.
func TestSettingsOfTheChart(t *testing.T) {
	set := map[string]map[string]bool{}
	for _, component := range components {
		set[component] = map[string]bool{"SHUTDOWN_TIMEOUT": true}
	}
	for name, values := range matrix {
		if strings.Contains(values, "settings:") && name != "defaults" {
			continue
		}
		r := newRelease(t, values)
		for _, component := range components {
			for key := range r.configs["demo-starling-"+component].Data {
				set[component][key] = true
			}
			for _, e := range find[*appsv1.Deployment](t, r, "demo-starling-"+component).Spec.Template.Spec.Containers[0].Env {
				set[component][e.Name] = true
			}
		}
	}
	for component, names := range set {
		known := map[string]bool{"SHUTDOWN_TIMEOUT": true}
		for _, s := range settings(t, serviceOf(component)) {
			known[s.env] = true
		}
		for name := range names {
			// The last two are the operator's: a switch, and a default of the values.
			if !known[name] || component == "gateway" && name == "GRPC_LISTEN" || name == "CHAT_BROADCAST" {
				continue
			}
			for _, values := range []string{"{%s: {settings: {%s: x}}}", "{%s: {extraEnv: [{name: %s, value: x}]}}"} {
				_, err := render(t, fmt.Sprintf(values, component, name))
				if err == nil || !strings.Contains(err.Error(), name+" is for the chart to set: ") {
					t.Errorf("%s: %s = %v, want it refused with what to use instead", component, name, err)
				}
			}
		}
	}
}

// TestUnknownSettings: a misspelt setting is refused by its name, whichever service it is meant for.
func TestUnknownSettings(t *testing.T) {
	for values, want := range map[string]string{
		`gateway: {settings: {MAX_ROMS: 3}}`:             "MAX_ROMS",
		`auth: {settings: {ARGON_TIME: 3}}`:              "ARGON_TIME",
		`chat: {settings: {MAX_ROOMS: 3}}`:               "MAX_ROOMS", // it is a setting of gateways
		`presence: {settings: {LEASE: 3s}}`:              "LEASE",
		`gateway: {settings: {DRAIN_WINDOW: 30s}}`:       "gateway.drainSeconds",
		`chat: {settings: {SHUTDOWN_TIMEOUT: 90s}}`:      "grace",
		`auth: {settings: {ADMIN_PASSWORD: secret}}`:     "admin-password",
		`gateway: {settings: {GRPC_LISTEN: everywhere}}`: "names no port",
		`gateway: {settings: {GRPC_LISTEN: ":3000"}}`:    "taken",
	} {
		if _, err := render(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("render(%q) = %v, want an error with %q", values, err, want)
		}
	}
	if _, err := render(t, `gateway: {settings: {MAX_ROOMS: 3, RECOVERY_REPLICAS: "3"}}`); err != nil {
		t.Errorf("settings that there are = %v, want them taken", err)
	}
}

// TestGatewayGRPC: with GRPC_LISTEN backends reach gateways by gRPC: the container has the port, a Service of its own leads there and the
// policy lets them in. Without it there is nothing of that, and never at the Service that clients use.
func TestGatewayGRPC(t *testing.T) {
	for values, port := range map[string]int32{
		``:                                       0,
		`gateway: {settings: {GRPC_LISTEN: ""}}`: 0,
		`gateway: {settings: {GRPC_LISTEN: ":7004"}}`:        7004,
		`gateway: {settings: {GRPC_LISTEN: "0.0.0.0:9000"}}`: 9000,
		`
gateway: {settings: {GRPC_LISTEN: ":7004"}}
service: {type: LoadBalancer}
networkPolicy: {grpcFrom: [{namespaceSelector: {matchLabels: {team: orders}}}]}
`: 7004,
	} {
		r := newRelease(t, values)
		r.checkSelectors(t)
		r.checkNetworkPolicies(t)
		ports := find[*appsv1.Deployment](t, r, "demo-starling-gateway").Spec.Template.Spec.Containers[0].Ports
		i := slices.IndexFunc(ports, func(p corev1.ContainerPort) bool { return p.Name == "grpc" })
		if open := i >= 0; open != (port != 0) || open && ports[i].ContainerPort != port {
			t.Errorf("%q: ports = %v, want gRPC at %d", values, ports, port)
		}
		services := 0
		for _, m := range r.all {
			s, ok := m.object.(*corev1.Service)
			if !ok || !strings.HasPrefix(m.name, "demo-starling-gateway") {
				continue
			}
			if m.name == "demo-starling-gateway" && len(s.Spec.Ports) != 1 {
				t.Errorf("%q: the clients' Service has the ports %v", values, s.Spec.Ports)
			}
			if m.name == "demo-starling-gateway-grpc" && s.Spec.ClusterIP == "None" && s.Spec.Ports[0].Port == port {
				services++
			}
		}
		if want := min(int(port), 1); services != want {
			t.Errorf("%q: %d Services for gRPC, want %d", values, services, want)
		}
		policy := find[*networkingv1.NetworkPolicy](t, r, "demo-starling-gateway")
		j := slices.IndexFunc(policy.Spec.Ingress, func(in networkingv1.NetworkPolicyIngressRule) bool { return in.Ports[0].Port.String() == "grpc" })
		if (j >= 0) != (port != 0) {
			t.Errorf("%q: the policy opens gRPC: %v", values, j >= 0)
		}
		if j < 0 {
			continue
		}
		from := policy.Spec.Ingress[j].From
		if len(from) != 1 || strings.Contains(values, "orders") != (from[0].NamespaceSelector != nil) {
			t.Errorf("%q: the policy lets in %v", values, from)
		}
	}
}

// TestExtras: variables, volumes and authorities of the operator's reach the pods of the service that they are for, and its migration.
func TestExtras(t *testing.T) {
	const extras = `
ca: {secret: my-ca, configMap: my-bundle}
chat:
  extraEnv: [{name: PGSSLCERT, value: /etc/pg/tls.crt}, {name: TOKEN, valueFrom: {secretKeyRef: {name: starling-secrets, key: token}}}]
  extraVolumes: [{name: pg, secret: {secretName: pg-client}}]
  extraVolumeMounts: [{name: pg, mountPath: /etc/pg, readOnly: true}]
`
	check := func(at string, spec corev1.PodSpec, own bool) {
		t.Helper()
		for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
			env, mounts := map[string]string{}, map[string]string{}
			for _, e := range c.Env {
				env[e.Name] = e.Value
			}
			for _, m := range c.VolumeMounts {
				mounts[m.Name] = m.MountPath
			}
			if env["SSL_CERT_DIR"] != "/etc/starling/ca" || mounts["ca"] != "/etc/starling/ca" {
				t.Errorf("%s/%s: SSL_CERT_DIR = %q, the authorities are at %q", at, c.Name, env["SSL_CERT_DIR"], mounts["ca"])
			}
			if _, token := env["TOKEN"]; token != own || (mounts["pg"] == "/etc/pg") != own || (env["PGSSLCERT"] != "") != own {
				t.Errorf("%s/%s: env = %v, mounts = %v, want chat's extras: %v", at, c.Name, env, mounts, own)
			}
		}
		i := slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == "ca" })
		if i < 0 || len(spec.Volumes[i].Projected.Sources) != 2 || spec.Volumes[i].Projected.Sources[0].Secret.Items[0].Key != "ca.crt" {
			t.Errorf("%s: volumes = %v, want the authorities, without the Secret's key", at, spec.Volumes)
		}
	}
	for name, values := range map[string]string{"bundled": extras, "own engines": ownEngines + extras} {
		r := newRelease(t, values)
		r.checkPods(t)
		for _, component := range components {
			check(name+": "+component, find[*appsv1.Deployment](t, r, "demo-starling-"+component).Spec.Template.Spec, component == "chat")
			if component != "gateway" && name == "own engines" {
				check(name+": migrate-"+component, find[*batchv1.Job](t, r, "demo-starling-migrate-"+component).Spec.Template.Spec, component == "chat")
			}
		}
	}
}

// TestAdmin: an admin that the settings name has a password from the Secret, drawn where the chart makes that.
func TestAdmin(t *testing.T) {
	const admin = `auth: {settings: {ADMIN_USERNAME: root}}`
	r := newRelease(t, admin)
	if got := len(r.secrets["demo-starling"].Data["admin-password"]); got < 16 {
		t.Errorf("admin-password has %d characters, want a drawn one", got)
	}
	find := func(values string) string {
		for _, e := range find[*appsv1.Deployment](t, newRelease(t, values), "demo-starling-auth").Spec.Template.Spec.Containers[0].Env {
			if e.Name == "ADMIN_PASSWORD" {
				return e.ValueFrom.SecretKeyRef.Key
			}
		}
		return ""
	}
	if got := find(admin); got != "admin-password" {
		t.Errorf("ADMIN_PASSWORD comes from %q, want admin-password", got)
	}
	if got := find(``); got != "" {
		t.Errorf("without an admin ADMIN_PASSWORD comes from %q", got)
	}
	if files, err := render(t, admin); err != nil || !strings.Contains(files["starling/templates/NOTES.txt"], "admin-password") {
		t.Errorf("the notes do not tell of the password: %v", err)
	}
}
