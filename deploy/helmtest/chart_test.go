package helmtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// matrix is what the chart is rendered with.
var matrix = map[string]string{
	"defaults":    ``,
	"own engines": ownEngines,
	"own nats only": `
secrets: {existingSecret: starling-secrets}
nats: {url: "nats://a:4222,nats://b:4222", bundled: {enabled: false}}
`,
	"no migrations": `migrations: {enabled: false}`,
	"no policies":   `networkPolicy: {enabled: false}`,
	"everything": `
fullnameOverride: everything
image: {registry: registry.example.com, repository: team/starling, tag: "1.2.3", pullPolicy: Always}
imagePullSecrets: [{name: registry}]
commonLabels: {team: chat}
serviceAccountName: starling
logging: {level: debug, format: text}
otlpEndpoint: http://otel:4317
secrets: {jwtSecret: 0123456789abcdef0123456789abcdef}
gateway:
  frontendUrl: https://app.example.com
  trustedProxies: [10.0.0.0/8, 192.168.0.0/16]
  drainSeconds: 20
  settings: {MAX_ROOMS: 200, PING_INTERVAL: 20s, PPROF: true, GRPC_LISTEN: ":7004"}
  autoscaling: {enabled: true, connections: 20000}
  pdb: {maxUnavailable: 25%}
  podAnnotations: {a: b}
  nodeSelector: {disk: ssd}
  tolerations: [{key: chat, operator: Exists}]
  affinity: {nodeAffinity: {}}
auth: {autoProvision: true, autoscaling: {enabled: true}}
chat: {autoscaling: {enabled: true}, pdb: {enabled: false}}
presence: {autoscaling: {enabled: true}}
service: {type: NodePort, nodePort: 30080, annotations: {a: b}}
ingress: {enabled: true, className: nginx, hosts: [a.example.com, b.example.com], tlsSecret: tls}
httpRoute: {enabled: true, parentRefs: [{name: public, namespace: infra}]}
nats: {bundled: {storageClass: fast}}
postgresql: {bundled: {storageClass: fast}}
networkPolicy:
  gatewayFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress}}}]
  metricsFrom: [{namespaceSelector: {}}]
  extraEgress: [{ports: [{port: 4317}]}]
metrics:
  podMonitor: {enabled: true, labels: {release: prometheus}}
  prometheusRule: {enabled: true}
  dashboard: {enabled: true}
`,
	"own engines, guarded": ownEngines + `
networkPolicy:
  natsTo: [{ipBlock: {cidr: 10.0.0.0/24}}]
  postgresqlTo: [{ipBlock: {cidr: 10.0.1.0/24}}]
`,
	"tls": `
secrets: {existingSecret: starling-secrets, encryptSigningKeys: false}
tls: {secret: grpc-tls, clientCerts: false}
nats: {url: "tls://nats.infra:4222", tls: {secret: nats-tls, clientCert: true}, credsSecret: nats-creds, bundled: {enabled: false}}
`,
	"tls of nats only": `
secrets: {existingSecret: starling-secrets}
nats: {url: "nats://nats.infra:4222", tls: {secret: nats-tls}, bundled: {enabled: false}}
`,
	"no pods": `
gateway: {replicas: 0}
chat: {replicas: 0}
`,
}

func TestChart(t *testing.T) {
	for name, values := range matrix {
		t.Run(name, func(t *testing.T) {
			r := newRelease(t, values)
			r.checkNames(t)
			r.checkPods(t)
			r.checkSelectors(t)
			r.checkNetworkPolicies(t)
		})
	}
}

// workload is what makes pods.
type workload struct {
	name     string
	selector *metav1.LabelSelector // nil for a Job
	pod      corev1.PodTemplateSpec
	claims   []corev1.PersistentVolumeClaim
}

// release is a rendered chart with its objects by kind.
type release struct {
	all       []manifest
	workloads []workload
	configs   map[string]*corev1.ConfigMap
	secrets   map[string]*corev1.Secret
}

func newRelease(t *testing.T, values string) *release {
	r := &release{all: objects(t, values), configs: map[string]*corev1.ConfigMap{}, secrets: map[string]*corev1.Secret{}}
	for _, m := range r.all {
		switch o := m.object.(type) {
		case *appsv1.Deployment:
			r.workloads = append(r.workloads, workload{name: o.Name, selector: o.Spec.Selector, pod: o.Spec.Template})
		case *appsv1.StatefulSet:
			r.workloads = append(r.workloads, workload{o.Name, o.Spec.Selector, o.Spec.Template, o.Spec.VolumeClaimTemplates})
		case *batchv1.Job:
			r.workloads = append(r.workloads, workload{name: o.Name, pod: o.Spec.Template})
		case *corev1.ConfigMap:
			r.configs[o.Name] = o
		case *corev1.Secret:
			r.secrets[o.Name] = o
		}
	}
	return r
}

// checkNames: no object twice, none in a fixed namespace, every name legal.
func (r *release) checkNames(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	for _, m := range r.all {
		id := m.kind + "/" + m.name
		if seen[id] {
			t.Errorf("%s occurs twice", id)
		}
		seen[id] = true
		if problems := validation.IsDNS1123Label(m.name); problems != nil {
			t.Errorf("%s: %v", id, problems)
		}
		meta := m.raw["metadata"].(map[string]any)
		if meta["namespace"] != nil {
			t.Errorf("%s: namespace = %v, want none: helm's --namespace decides", id, meta["namespace"])
		}
		for k, v := range meta["labels"].(map[string]any) {
			if problems := append(validation.IsQualifiedName(k), validation.IsValidLabelValue(v.(string))...); len(problems) > 0 {
				t.Errorf("%s: label %s=%v: %v", id, k, v, problems)
			}
		}
	}
}

func (r *release) checkPods(t *testing.T) {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := psa.LevelVersion{Level: psa.LevelRestricted, Version: psa.LatestVersion()}
	for _, w := range r.workloads {
		spec := &w.pod.Spec
		for _, result := range evaluator.EvaluatePod(restricted, &w.pod.ObjectMeta, spec) {
			if !result.Allowed {
				t.Errorf("%s: pod security restricted: %s: %s", w.name, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
		if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
			t.Errorf("%s: mounts a service account's token", w.name)
		}
		for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
			r.checkContainer(t, w, c)
		}
		for _, c := range spec.Containers {
			if w.selector != nil && (c.LivenessProbe == nil && !strings.Contains(w.name, "postgresql") || c.ReadinessProbe == nil || c.StartupProbe == nil) {
				t.Errorf("%s: a probe is missing", w.name)
			}
			for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
				checkProbe(t, w.name, c, p)
			}
		}
	}
}

func (r *release) checkContainer(t *testing.T, w workload, c corev1.Container) {
	t.Helper()
	at := w.name + "/" + c.Name
	if image, tag, ok := strings.Cut(c.Image, ":"); !ok || image == "" || tag == "" {
		t.Errorf("%s: image = %q, want name:tag", at, c.Image)
	}
	if root := c.SecurityContext.ReadOnlyRootFilesystem; root == nil || !*root {
		t.Errorf("%s: its root can be written to", at)
	}
	if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Errorf("%s: requests or the memory limit are missing", at)
	}
	names := map[string]bool{}
	for _, e := range c.Env {
		if names[e.Name] {
			t.Errorf("%s: %s is set twice", at, e.Name)
		}
		// $(NAME) is replaced only where NAME stands before.
		for _, rest := range strings.Split(e.Value, "$(")[1:] {
			if ref, _, _ := strings.Cut(rest, ")"); !names[ref] {
				t.Errorf("%s: %s refers to %s, which is not set before it", at, e.Name, ref)
			}
		}
		names[e.Name] = true
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			r.checkSecretKey(t, at, e.ValueFrom.SecretKeyRef)
		}
	}
	for _, from := range c.EnvFrom {
		config := r.configs[from.ConfigMapRef.Name]
		if config == nil {
			t.Errorf("%s: no ConfigMap %s", at, from.ConfigMapRef.Name)
			continue
		}
		for name := range config.Data {
			if names[name] {
				t.Errorf("%s: %s is in the ConfigMap and in env", at, name)
			}
		}
	}
	for _, mount := range c.VolumeMounts {
		known := slices.ContainsFunc(w.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name }) ||
			slices.ContainsFunc(w.claims, func(v corev1.PersistentVolumeClaim) bool { return v.Name == mount.Name })
		if !known {
			t.Errorf("%s: no volume %s", at, mount.Name)
		}
	}
}

func (r *release) checkSecretKey(t *testing.T, at string, ref *corev1.SecretKeySelector) {
	t.Helper()
	secret := r.secrets[ref.Name]
	if secret == nil {
		if ref.Name != "starling-secrets" {
			t.Errorf("%s: no Secret %s", at, ref.Name)
		}
		return
	}
	if len(secret.Data[ref.Key]) == 0 && (ref.Optional == nil || !*ref.Optional) {
		t.Errorf("%s: Secret %s lacks %s", at, ref.Name, ref.Key)
	}
}

func checkProbe(t *testing.T, name string, c corev1.Container, p *corev1.Probe) {
	t.Helper()
	if p == nil {
		return
	}
	ok := p.Exec != nil
	for _, port := range c.Ports {
		ok = ok || p.HTTPGet != nil && p.HTTPGet.Port.String() == port.Name || p.GRPC != nil && p.GRPC.Port == port.ContainerPort
	}
	if !ok {
		t.Errorf("%s: a probe asks a port that %s does not have", name, c.Name)
	}
}

// selected gives the names of the workloads whose pods a selector finds.
func (r *release) selected(t *testing.T, selector *metav1.LabelSelector) []workload {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	var found []workload
	for _, w := range r.workloads {
		if s.Matches(labels.Set(w.pod.Labels)) {
			found = append(found, w)
		}
	}
	return found
}

func hasPort(w workload, port string) bool {
	for _, c := range w.pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == port || fmt.Sprint(p.ContainerPort) == port {
				return true
			}
		}
	}
	return false
}

// checkSelectors: whatever selects pods or names an object finds exactly its own.
func (r *release) checkSelectors(t *testing.T) {
	t.Helper()
	names := map[string]bool{}
	for _, m := range r.all {
		names[m.kind+"/"+m.name] = true
	}
	one := func(name string, selector *metav1.LabelSelector) *workload {
		found := r.selected(t, selector)
		if len(found) != 1 || found[0].name != name {
			t.Errorf("selector of %s finds %d workloads, want itself only", name, len(found))
			return nil
		}
		return &found[0]
	}
	for _, w := range r.workloads {
		if w.selector != nil {
			one(w.name, w.selector)
		}
	}
	for _, m := range r.all {
		switch o := m.object.(type) {
		case *corev1.Service:
			w := one(strings.TrimSuffix(o.Name, "-grpc"), &metav1.LabelSelector{MatchLabels: o.Spec.Selector})
			for _, p := range o.Spec.Ports {
				if w != nil && !hasPort(*w, p.TargetPort.String()) {
					t.Errorf("Service %s: its pods have no port %s", o.Name, p.TargetPort.String())
				}
			}
		case *policyv1.PodDisruptionBudget:
			one(o.Name, o.Spec.Selector)
		case *autoscalingv2.HorizontalPodAutoscaler:
			if !names[o.Spec.ScaleTargetRef.Kind+"/"+o.Spec.ScaleTargetRef.Name] {
				t.Errorf("HPA %s scales nothing", o.Name)
			}
		case *networkingv1.Ingress:
			for _, rule := range o.Spec.Rules {
				if backend := rule.HTTP.Paths[0].Backend.Service.Name; !names["Service/"+backend] {
					t.Errorf("Ingress %s: no Service %s", o.Name, backend)
				}
			}
		}
	}
}

// checkNetworkPolicies: each selects pods, and the named ports exist on them.
func (r *release) checkNetworkPolicies(t *testing.T) {
	t.Helper()
	for _, m := range r.all {
		p, ok := m.object.(*networkingv1.NetworkPolicy)
		if !ok {
			continue
		}
		pods := r.selected(t, &p.Spec.PodSelector)
		if len(pods) == 0 {
			t.Errorf("NetworkPolicy %s selects no pod", p.Name)
		}
		for _, in := range p.Spec.Ingress {
			for _, port := range in.Ports {
				for _, w := range pods {
					if !hasPort(w, port.Port.String()) {
						t.Errorf("NetworkPolicy %s: %s has no port %s", p.Name, w.name, port.Port.String())
					}
				}
			}
			for _, peer := range in.From {
				if peer.PodSelector != nil && peer.NamespaceSelector == nil && len(r.selected(t, peer.PodSelector)) == 0 {
					t.Errorf("NetworkPolicy %s lets in a peer that does not exist", p.Name)
				}
			}
		}
		for _, out := range p.Spec.Egress {
			for _, peer := range out.To {
				if peer.PodSelector == nil {
					continue
				}
				for _, w := range r.selected(t, peer.PodSelector) {
					if !hasPort(w, out.Ports[0].Port.String()) {
						t.Errorf("NetworkPolicy %s: %s has no port %s", p.Name, w.name, out.Ports[0].Port.String())
					}
				}
			}
		}
	}
}
