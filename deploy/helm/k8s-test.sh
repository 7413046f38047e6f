#!/usr/bin/env bash
# k8s-test.sh - the chart on a real cluster: installed in a namespace of its own under Pod Security "restricted" and
# default-deny, tried by the end-to-end suite, rolled, killed and scaled under the load of official clients, moved to a NATS and a
# PostgreSQL that are not its own, uninstalled and installed again over its data. Everything that it made in the cluster is removed
# again, whatever happens; images that it built stay, for --no-build.
#
# Usage: k8s-test.sh [--keep] [--no-build] [--by-tag] [--steps=LIST] [--report=FILE] [SUITE...]
#
#   --keep         leave the release running (prints how to remove it), and a cluster that it started
#   --no-build     take the images as they are
#   --by-tag       ignore the digests of others' images, for a machine with images of its own under their tags
#   --steps=LIST   all of them by default, in this order:
#                    suite      the end-to-end suite
#                    variants   what the chart renders with other values, judged by the API server and Pod Security
#                    rolls      every Deployment is rolled, in one order and in the other
#                    upgrade    helm upgrade rolls all of them at once
#                    deletes    a pod of each is deleted
#                    kills      a pod of each is removed by force, without time to stop
#                    engines    NATS and PostgreSQL are away for 10 s, one after the other
#                    scale      Deployments are scaled by hand, and taken back by helm upgrade
#                    autoscale  gateways by their CPU (needs the metrics API, as of metrics-server)
#                    connections  gateways by their connections, through the adapter test/adapter
#                    secrets    JWT_SECRET without a moment of refusal, then tokens and passwords at once
#                    reinstall  helm uninstall, helm install over the same data
#                    own        from the bundled NATS and PostgreSQL to others, with the data
#   --report=FILE  write the report there, as Markdown
#   SUITE          names of test files in test/e2e, without .test.js; all of them by default
#
# Which cluster, by the environment:
#
#   KUBECONFIG       must be set: a test of this kind is not for whatever cluster kubectl happens to know
#   K8S_TEST_URL     where clients reach the gateways' Service; by default its node port at the first node's address
#   K8S_TEST_VALUES  file with further values of the chart, such as those of an ingress for that URL
#   K8S_TEST_IMAGES  REGISTRY/REPOSITORY:TAG of the four services' images; by default they are built here
#   K8S_TEST_ADAPTER image of test/adapter, with K8S_TEST_IMAGES
#   K8S_TEST_LOAD    command that brings the images which are its arguments into the cluster, such as
#                    "kind load docker-image"; nothing where the nodes can pull them
#
# and the load: CROWD_CLIENTS clients (60), CROWD_RATE messages a second of all of them (30), CROWD_WAIT seconds that no client may wait for
# an ack, reconnects included, except where an engine is away or everything is (unset: the report tells, and nothing fails).
#
# Without KUBECONFIG, where the scripts of a test cluster lie beside the repository (../shared/kubernetes), they start one,
# and stop it afterwards. Needs kubectl, helm, node, npm, openssl, curl, and docker and go where images are built.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

all_steps=suite,variants,rolls,upgrade,deletes,kills,engines,scale,autoscale,connections,secrets,reinstall,own
keep='' build=1 by_tag='' steps=$all_steps report='' suites=()
for arg; do
	case $arg in
	--keep) keep=1 ;;
	--no-build) build='' ;;
	--by-tag) by_tag=1 ;;
	--steps=*) steps=${arg#*=} ;;
	--report=*) report=${arg#*=} ;;
	-h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
	-*) echo "unknown argument: $arg (see --help)" >&2; exit 2 ;;
	*) suites+=("$arg") ;;
	esac
done
results=$(mktemp -d)
. deploy/trial.sh
needs node npm curl openssl

# ---- the cluster
shared=../shared/kubernetes
own_cluster=''
if [ -z "${KUBECONFIG:-}" ]; then
	[ -x "$shared/cluster.sh" ] || { echo "set KUBECONFIG to a cluster for tests (see --help)" >&2; exit 2; }
	"$shared/cluster.sh" status >/dev/null 2>&1 || { say "starting a cluster"; own_cluster=1; "$shared/cluster.sh" up; }
	eval "$("$shared/cluster.sh" env)"
	: "${K8S_TEST_LOAD=$shared/cluster.sh load}"
fi
needs kubectl helm
namespace=starling-test-$$ release=starling engines=engines adapter_api=v1beta2.custom.metrics.k8s.io own_adapter=''
k() { bounded kubectl --namespace "$namespace" "$@"; }
# Helm 4 applies on the server's side, and refuses to take back what kubectl or the autoscaler has set (a number of pods) unless told to.
force=''
case $(helm version --template '{{.Version}}') in v4*) force=--force-conflicts ;; esac
about() {
	cat <<END
Written by \`make k8s-test\` (\`deploy/helm/k8s-test.sh\`) on $(date -u +%Y-%m-%d) of commit $(git rev-parse --short HEAD): Kubernetes
$(kubectl version -o json | sed -n '/serverVersion/,/}/s/.*"gitVersion": "\(.*\)".*/\1/p'), $(kubectl get nodes -o name | wc -l) node(s) with $(kubectl get nodes -o jsonpath='{.items[0].status.capacity.cpu}') CPUs,
Helm $(helm version --template '{{.Version}}'). Images: ${images:-none}. The clients run on the same machine as the test${by:-}.
END
}

finish() {
	local status=$? pod left
	trap - EXIT INT TERM ERR
	status=$(judge $status)
	stop_crowd
	deadline=$((SECONDS + 900))
	if [ $status != 0 ]; then
		say "FAILED; what the cluster says"
		k get pods -o wide || true
		k get events --sort-by=.lastTimestamp 2>/dev/null | tail -20 || true
		for pod in $(k get pods -o name 2>/dev/null || true); do
			echo "-- $pod"
			k logs "$pod" --all-containers --tail 12 2>&1 | cut -c1-300 || true
		done
	fi
	write_report $status "The chart on a cluster" "$(about)" || true
	if [ -n "$keep" ]; then
		echo "left running: kubectl delete namespace $namespace"
	else
		say "removing everything"
		# First, for a namespace does not end while the API server waits for an API that is gone.
		[ -z "$own_adapter" ] || bounded kubectl delete apiservice "$adapter_api" --ignore-not-found >/dev/null || true
		bounded kubectl delete namespace "$namespace" --ignore-not-found --timeout 600s >/dev/null || status=1
		left=$(bounded kubectl get pv -o jsonpath='{range .items[*]}{.spec.claimRef.namespace}/{.spec.claimRef.name}{"\n"}{end}' | grep "^$namespace/" || true)
		[ -z "$left" ] || { echo "volumes are left, for their class keeps them: $left" >&2; status=1; }
		[ -z "$own_cluster" ] || "$shared/cluster.sh" down || status=1
	fi
	rm -rf "$results"
	exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

# ---- the images
services=(gateway auth-service chat-service presence-service)
base='' adapter_image=${K8S_TEST_ADAPTER:-}
if [ -n "${K8S_TEST_IMAGES:-}" ]; then
	repository=${K8S_TEST_IMAGES%:*} tag=${K8S_TEST_IMAGES##*:}
	images="those of $K8S_TEST_IMAGES"
else
	engine=../shared/docker
	if ! docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then
		[ -x "$engine/engine.sh" ] || fail "needs docker, or K8S_TEST_IMAGES (see --help)"
		say "starting an engine"
		"$engine/engine.sh"
		"$engine/standins.sh"
	fi
	repository=starling tag=k8s-test adapter_image=starling/metrics-adapter:$tag
	if [ -n "$build" ]; then
		say "building the images"
		file=docker-compose.yml
		if [ -n "$by_tag" ]; then
			file=$results/docker-compose.yml
			sed -E "s/@sha256:[0-9a-f]{64}//" deploy/docker/Dockerfile >"$results/Dockerfile"
			sed -E "s/@sha256:[0-9a-f]{64}//; s%^( *dockerfile:).*%\1 $results/Dockerfile%" docker-compose.yml >"$file"
		fi
		STARLING_VERSION=$tag bounded docker compose --project-directory "$PWD" --file "$file" --env-file /dev/null build --quiet "${services[@]}" || fail "the images cannot be built"
		mkdir "$results/adapter"
		CGO_ENABLED=0 bounded go build -trimpath -o "$results/adapter/adapter" ./test/adapter
		printf 'FROM scratch\nCOPY adapter /adapter\nUSER 65532:65532\nENTRYPOINT ["/adapter"]\n' >"$results/adapter/Dockerfile"
		bounded docker build --quiet --tag "$adapter_image" "$results/adapter" >/dev/null
	fi
	images="built from deploy/docker/Dockerfile"
	base=$(docker image inspect --format '{{index .Config.Labels "standin"}}' golang:1.26-alpine 2>/dev/null || true)
	[ -z "$base" ] || images+=", on stand-ins for the public base images"
fi
engine_image() { sed -n "s/^ *image: \($1:[^@ ]*\).*/\1/p" deploy/helm/starling/values.yaml | head -1; }
nats_image=$(engine_image nats) postgres_image=$(engine_image postgres)
if [ -n "${K8S_TEST_LOAD:-}" ]; then
	say "bringing the images into the cluster"
	names=()
	for service in "${services[@]}"; do names+=("$repository/$service:$tag"); done
	bounded $K8S_TEST_LOAD "${names[@]}" ${adapter_image:+"$adapter_image"} "$nats_image" "$postgres_image" >/dev/null || fail "the images cannot be brought into the cluster"
fi

# ---- the namespace: restricted, and nothing passes that no policy names
say "namespace $namespace"
kubectl create namespace "$namespace" >/dev/null
kubectl label namespace "$namespace" pod-security.kubernetes.io/{enforce,warn}=restricted pod-security.kubernetes.io/{enforce,warn}-version=latest >/dev/null
k apply -f - >/dev/null <<'YAML'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nothing-passes}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
YAML

# ---- values: those of the suite, and requests that a small node has room for
JWT_SECRET=$(random)
export JWT_SECRET
values=$results/values.yaml
cat >"$values" <<YAML
image: {repository: "$repository", tag: "$tag"}
secrets: {jwtSecret: "$JWT_SECRET"}
service: {type: NodePort}
gateway:
  replicas: 3
  drainSeconds: 15
  frontendUrl: http://app.example.test,http://localhost:5173
  settings: {LIMIT_EXEMPT_NETWORKS: "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,127.0.0.0/8"}
  resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 1Gi}}
auth:
  autoProvision: true
  settings:
    REGISTRATION: true
    GUESTS: true
    LIMIT_EXEMPT_NETWORKS: "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,127.0.0.0/8"
  resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 768Mi}}
chat:
  roomsAutocreate: public
  settings: {CHAT_BROADCAST: everyone}
  resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 512Mi}}
presence:
  resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 512Mi}}
nats: {bundled: {image: "$nats_image", storage: 2Gi, resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 1Gi}}}}
postgresql: {bundled: {image: "$postgres_image", storage: 2Gi, resources: {requests: {cpu: 50m, memory: 256Mi}, limits: {memory: 1Gi}}}}
YAML
more=() # values that steps have added, for those that follow
chart() { # COMMAND [FLAG...]: install or upgrade
	local command=$1
	shift
	bounded helm "$command" "$release" deploy/helm/starling --namespace "$namespace" --values "$values" ${K8S_TEST_VALUES:+--values "$K8S_TEST_VALUES"} \
		"${more[@]}" --wait --timeout 15m "$@" >"$results/helm.log" 2>&1 || { cat "$results/helm.log" >&2; fail "helm $command"; }
}

say "helm install"
started=$SECONDS
chart install
ok "The chart is installed and ready ($((SECONDS - started)) s), under Pod Security \"restricted\", in a namespace where nothing passes that no policy names."

url=${K8S_TEST_URL:-}
if [ -z "$url" ]; then
	address=$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
	port=$(k get service "$release-gateway" -o jsonpath='{.spec.ports[0].nodePort}')
	url=http://$address:$port
	sed -i "s/^service: .*/service: {type: NodePort, nodePort: $port}/" "$values" # the clients find it there again
fi
curl -fsS --max-time 10 --retry 10 --retry-all-errors -o /dev/null "$url/healthz"
API_KEY=$(k get secret "$release" -o jsonpath='{.data.api-key}' | base64 -d)
export API_KEY

# ---- what must not be
say "what must not be possible"
from() { k exec "$1" -- timeout 5 bash -c "exec 3<>/dev/tcp/$2/$3"; } # POD HOST PORT
from "$release-postgresql-0" 127.0.0.1 5432 || fail "the probe finds no port that is open"
! from "$release-postgresql-0" "$release-nats" 4222 2>/dev/null || fail "PostgreSQL's pod reaches NATS"
ok "PostgreSQL's pod does not reach NATS: the policies are enforced."
! k run root --image="$postgres_image" --command -- sleep 60 >/dev/null 2>"$results/out" || fail "a pod without restrictions is let in"
grep -q PodSecurity "$results/out" || { cat "$results/out" >&2; fail "a pod without restrictions is refused for another reason"; }
key() { k get secret "$release" -o jsonpath="{.data.$1}" | base64 -d; } # the value of a key of the Secret
as() { k exec "$release-postgresql-0" -- env PGPASSWORD="$(key "$2")" psql -h 127.0.0.1 -U "$1" -d starling -v ON_ERROR_STOP=1 -qtAc "$3"; }
as starling_chat db-chat-password 'SELECT count(*) FROM rooms' >/dev/null || fail "a service does not reach its own schema"
! as starling_chat db-chat-password 'CREATE TABLE t (a int)' 2>/dev/null || fail "a running service may change its schema"
! as starling_chat db-chat-password 'SELECT count(*) FROM auth.goose_db_version' 2>/dev/null || fail "a service reads another one's schema"
ok "A running service neither changes its schema nor reads another one's."
! helm upgrade "$release" deploy/helm/starling --namespace "$namespace" --values "$values" --set gateway.replica=3 --dry-run=server >/dev/null 2>"$results/out" || fail "a misspelt value is taken"
grep -q replica "$results/out" || { cat "$results/out" >&2; fail "a misspelt value is not named"; }
ok "\`helm upgrade\` with a misspelt value is refused by its name."

say "npm ci"
(cd test/e2e && bounded npm ci --no-audit --no-fund --loglevel=error)

# ---- what needs no load
if step suite 5400 "the end-to-end suite"; then
	suite "$url" "${suites[@]}"
	ok "The end-to-end suite passes${suites[0]:+ (${suites[*]})}."
fi

# renders FLAG...: the chart with other values is taken by the API server, and by Pod Security without a word
renders() {
	helm template variant deploy/helm/starling --namespace "$namespace" "$@" >"$results/variant.yaml"
	k apply --server-side --dry-run=server --validate=strict -f "$results/variant.yaml" >"$results/out" 2>&1 || { cat "$results/out" >&2; fail "the API server refuses the chart with $*"; }
	! grep -i 'PodSecurity\|warning' "$results/out" >&2 || fail "the API server warns of the chart with $*"
}
if step variants 600 "what the chart renders with other values"; then
	own_engines=(--set nats.bundled.enabled=false,nats.url=nats://nats.infra:4222,postgresql.bundled.enabled=false,postgresql.host=postgres.infra --set secrets.existingSecret=own)
	renders
	renders "${own_engines[@]}" --set gateway.autoscaling.enabled=true,gateway.autoscaling.connections=20000,auth.autoscaling.enabled=true,chat.autoscaling.enabled=true,presence.autoscaling.enabled=true
	renders "${own_engines[@]}" --set tls.secret=tls,nats.tls.secret=nats-tls,nats.tls.clientCert=true,nats.credsSecret=creds,ca.secret=ca,ca.configMap=cas
	renders --set ingress.enabled=true,ingress.tlsSecret=tls,metrics.dashboard.enabled=true,service.type=LoadBalancer,gateway.pdb.maxUnavailable=10%
	renders --set-string 'gateway.settings.GRPC_LISTEN=:7004' --set 'chat.extraEnv[0].name=PGSSLCERT,chat.extraEnv[0].value=/own/tls.crt,chat.extraVolumes[0].name=own,chat.extraVolumes[0].secret.secretName=own,chat.extraVolumeMounts[0].name=own,chat.extraVolumeMounts[0].mountPath=/own'
	renders --set networkPolicy.enabled=false,migrations.enabled=false,auth.settings.ADMIN_USERNAME=admin,serviceAccountName=own --set-string 'commonLabels.team=chat,gateway.nodeSelector.disk=ssd'
	ok "Six variants of values pass the API server's strict validation and Pod Security \"restricted\" (dry run; those that need the Prometheus operator's or the Gateway API's kinds are not among them)."
fi

# ---- under load
pod_of() { k get pods -l "app.kubernetes.io/instance=$release,app.kubernetes.io/component=$1" -o jsonpath='pod/{.items[0].metadata.name}'; }
# ready WORKLOAD...: until each has all its pods, and those that it had before are gone
ready() {
	local workload
	for workload; do k rollout status "$workload" --timeout "$(left)s" >/dev/null || fail "$workload is not ready"; done
	until [ -z "$(k get pods -o jsonpath='{range .items[*]}{.metadata.deletionTimestamp}{end}')" ]; do
		[ $SECONDS -lt $deadline ] || fail "pods do not end"
		sleep 1
	done
}
deployment() { echo "deployment/$release-$1"; }
deployments=("$(deployment chat)" "$(deployment presence)" "$(deployment auth)" "$(deployment gateway)")

pass
! [[ $steps =~ rolls|upgrade|deletes|kills|engines|scale|autoscale|connections|secrets|reinstall|own ]] || start_crowd "$url"
if step rolls 3600 "every Deployment is rolled"; then
	for name in chat presence auth gateway gateway auth presence chat; do
		tell phase "$name is rolled"
		k rollout restart "$(deployment "$name")" >/dev/null
		ready "$(deployment "$name")"
	done
fi
if step upgrade 1800 "helm upgrade rolls everything at once"; then
	tell phase "helm upgrade rolls everything at once"
	more+=(--set-string gateway.podAnnotations.rolled=1,auth.podAnnotations.rolled=1,chat.podAnnotations.rolled=1,presence.podAnnotations.rolled=1)
	chart upgrade
	ready "${deployments[@]}"
fi
if step deletes 1800 "a pod of each is deleted"; then
	for name in chat presence auth gateway; do
		tell phase "a pod of $name is deleted"
		k delete "$(pod_of "$name")" --wait=false >/dev/null
		ready "$(deployment "$name")"
	done
fi
if step kills 1800 "a pod of each is removed by force"; then
	for name in chat presence auth gateway; do
		tell phase "a pod of $name is removed by force"
		k delete "$(pod_of "$name")" --grace-period 0 --force >/dev/null 2>&1
		ready "$(deployment "$name")"
	done
fi
if step engines 1800 "NATS and PostgreSQL are away for 10 s"; then
	for name in nats postgresql; do
		tell outage "$name is away for 10 s"
		k scale "statefulset/$release-$name" --replicas 0 >/dev/null
		ready "statefulset/$release-$name"
		sleep 10
		k scale "statefulset/$release-$name" --replicas 1 >/dev/null
		ready "statefulset/$release-$name"
	done
fi
if step scale 3600 "scaled"; then
	for to in "gateway 1" "gateway 5" "chat 3" "chat 1"; do
		tell phase "${to% *} is scaled to ${to#* }"
		k scale "$(deployment "${to% *}")" --replicas "${to#* }" >/dev/null
		ready "$(deployment "${to% *}")"
	done
	tell phase "helm upgrade takes the numbers back (3 gateways, 2 of chat-service)"
	chart upgrade $force
	ready "${deployments[@]}"
	[ "$(k get "$(deployment gateway)" -o jsonpath='{.spec.replicas}')" = 3 ] || fail "helm upgrade left the number of gateways as it was"
fi

# scales FLAG...: with these values of autoscaling the gateways become five
scales() {
	chart upgrade --set gateway.autoscaling.enabled=true,gateway.autoscaling.minReplicas=3,gateway.autoscaling.maxReplicas=5 "$@"
	until [ "$(k get "$(deployment gateway)" -o jsonpath='{.spec.replicas}')" = 5 ]; do
		[ $SECONDS -lt $deadline ] || { k describe hpa >&2; fail "the autoscaler adds no gateways"; }
		sleep 1
	done
	ready "$(deployment gateway)"
}
unscale() {
	tell phase "autoscaling is turned off: three gateways again"
	chart upgrade $force
	ready "$(deployment gateway)"
}
available() { [ "$(kubectl get apiservice "$1" --ignore-not-found -o jsonpath='{.status.conditions[?(@.type=="Available")].status}')" = True ]; } # API
if step autoscale 1800 "gateways are scaled by their CPU"; then
	if available v1beta1.metrics.k8s.io; then
		tell phase "autoscaling of gateways is turned on"
		timeout "$(left)" kubectl --namespace "$namespace" get "$(deployment gateway)" --watch -o jsonpath='{.spec.replicas}{"\n"}' >"$results/replicas" &
		watch=$!
		chart upgrade --set gateway.autoscaling.enabled=true,gateway.autoscaling.minReplicas=3,gateway.autoscaling.maxReplicas=5,gateway.autoscaling.cpuPercent=100000
		k wait --for=condition=ScalingActive "hpa/$release-gateway" --timeout "$(left)s" >/dev/null || fail "the autoscaler has no figures"
		kill "$watch"
		wait "$watch" 2>/dev/null || true
		[ "$(sort -nu "$results/replicas" | xargs)" = 3 ] || fail "turning autoscaling on had these numbers of gateways, of 3: $(xargs <"$results/replicas")"
		ok "Turning autoscaling on leaves all gateways where they are."
		tell phase "their CPU is above the target: five gateways"
		scales --set gateway.autoscaling.cpuPercent=1
		unscale
		ok "The autoscaler adds gateways by their CPU, and turning it off takes them back."
	else
		cannot "the cluster has no metrics API"
	fi
fi
if step connections 1800 "gateways are scaled by their connections"; then
	if kubectl get apiservice -o name | grep -q custom.metrics.k8s.io; then
		cannot "the cluster has an adapter of its own"
	elif [ -z "$adapter_image" ] || ! available v1beta1.metrics.k8s.io; then
		cannot "needs the metrics API, and an image of the adapter"
	else
		tell phase "an adapter answers the custom metrics API"
		own_adapter=1
		sed "s%@namespace@%$namespace%; s%@image@%$adapter_image%" test/adapter/adapter.yaml | k apply -f - >/dev/null
		ready deployment/metrics-adapter
		bounded kubectl wait --for=condition=Available "apiservice/$adapter_api" --timeout "$(left)s" >/dev/null || fail "the adapter does not answer"
		tell phase "their connections are above the target: five gateways"
		scales --set "gateway.autoscaling.cpuPercent=100000,gateway.autoscaling.connections=$((${CROWD_CLIENTS:-60} / 5))"
		unscale
		ok "The autoscaler adds gateways by \`starling_gateway_connections\`."
	fi
fi

# token SECRET: of a new user, as the login system with that secret signs it
token() { (cd test/e2e && JWT_SECRET=$1 node --input-type=module -e "import { newUser } from './user.js'; console.log((await newUser('rotated')).token);"); }
# taken SECRET: whether its tokens are
taken() { [ "$(curl -s --max-time 30 -o /dev/null -w '%{http_code}' -H "authorization: Bearer $(token "$1")" "$url/api/v1/rooms")" = 200 ]; }
old_secret=''
if step secrets 3600 "secrets are changed"; then
	old_secret=$JWT_SECRET
	JWT_SECRET=$(random)
	other() { k create secret generic other --from-literal="jwt-secret=$1" --dry-run=client -o yaml | k apply -f - >/dev/null; }
	printf 'auth: {extraEnv: [{name: JWT_SECRET_OTHER, valueFrom: {secretKeyRef: {name: other, key: jwt-secret}}}]}\n' >"$results/other.yaml"
	more+=(--values "$results/other.yaml")
	! taken "$JWT_SECRET" || fail "tokens of a secret that nobody knows are taken"
	tell phase "a second JWT_SECRET beside the first"
	other "$JWT_SECRET"
	chart upgrade
	ready "$(deployment auth)"
	taken "$JWT_SECRET" && taken "$old_secret" || fail "with two secrets the tokens of one are refused"
	tell phase "the second JWT_SECRET becomes the first"
	other "$old_secret"
	sed -i "s/$old_secret/$JWT_SECRET/" "$values"
	chart upgrade
	ready "$(deployment auth)"
	taken "$JWT_SECRET" && taken "$old_secret" || fail "with the secrets the other way round the tokens of one are refused"
	tell outage "service tokens and NATS's passwords are replaced, all at once"
	k patch secret "$release" --type merge -p "{\"stringData\": {\"service-token\": \"$(random)\", \"service-token-presence\": \"$(random)\", \"nats-gateway-password\": \"$(random)\",
		\"nats-auth-password\": \"$(random)\", \"nats-chat-password\": \"$(random)\", \"nats-presence-password\": \"$(random)\"}}" >/dev/null
	chart upgrade
	ready "statefulset/$release-nats" "${deployments[@]}"
	ok "\`JWT_SECRET\` is replaced without a token refused; service tokens and NATS's passwords are taken over by the upgrade itself."
fi
if step reinstall 1800 "uninstalled and installed again over its data"; then
	tell outage "helm uninstall, helm install over the same data"
	bounded helm uninstall "$release" --namespace "$namespace" --wait --timeout 10m >/dev/null
	kept=$(k get secret,pvc -l "app.kubernetes.io/instance=$release" -o name | wc -l)
	chart install
	ready "${deployments[@]}"
	ok "Uninstalled and installed again: $kept objects (the Secret and the volumes) were kept, and every message with them."
fi

# denied: what the logs of pods that there are say about permissions
denied() {
	for name in gateway auth chat presence; do
		k logs -l "app.kubernetes.io/instance=$release,app.kubernetes.io/component=$name" --all-containers --tail=-1 --prefix 2>/dev/null | grep -i 'permissions violation\|permission denied' >"$results/denied" || true
		[ ! -s "$results/denied" ] || { head -5 "$results/denied" >&2; fail "$name lacks a right"; }
	done
}
denied
if step own 1800 "from the bundled NATS and PostgreSQL to others"; then
	tell phase "other engines are installed"
	helm template $engines deploy/helm/starling --namespace "$namespace" --values "$values" --set "fullnameOverride=$engines,secrets.jwtSecret=,secrets.existingSecret=$release" \
		--show-only templates/nats.yaml --show-only templates/postgresql.yaml | k apply -f - >/dev/null
	k apply -f - >/dev/null <<YAML
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: $engines}
spec:
  podSelector: {matchLabels: {app.kubernetes.io/instance: $engines}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {}}]}]
YAML
	ready statefulset/$engines-postgresql statefulset/$engines-nats
	tell outage "everything goes over to them"
	k scale "${deployments[@]}" --replicas 0 >/dev/null
	ready "${deployments[@]}"
	k exec "$release-postgresql-0" -- pg_dump -U postgres -Fc starling >"$results/dump"
	k exec $engines-postgresql-0 -- psql -U postgres -d starling -qc 'DROP SCHEMA IF EXISTS auth, chat, presence CASCADE'
	k exec -i $engines-postgresql-0 -- pg_restore -U postgres -d starling --exit-on-error <"$results/dump"
	more+=(--set "secrets.jwtSecret=,secrets.existingSecret=$release,nats.bundled.enabled=false,nats.url=nats://$engines-nats:4222"
		--set "postgresql.bundled.enabled=false,postgresql.host=$engines-postgresql,postgresql.sslmode=disable")
	chart upgrade $force
	ready "${deployments[@]}"
	[ -z "$(k get statefulset -l "app.kubernetes.io/instance=$release" -o name)" ] || fail "the bundled engines are still there"
	ok "From the bundled NATS and PostgreSQL to others, by a dump: every message came along, and migrations ran as Jobs."
fi
pass
end_crowd

# ---- last, for it ends the sessions of the crowd
if [ -n "$old_secret" ]; then
	say "the old JWT_SECRET is taken away"
	for i in "${!more[@]}"; do [ "${more[$i]}" != "$results/other.yaml" ] || unset "more[$i]" "more[$((i - 1))]"; done
	more=("${more[@]}")
	chart upgrade
	ready "$(deployment auth)"
	taken "$JWT_SECRET" || fail "tokens of the new secret are refused"
	! taken "$old_secret" || fail "tokens of the old secret are still taken"
	ok "After that the old \`JWT_SECRET\` is worth nothing."
fi
denied
the_end
