#!/usr/bin/env bash
# k8s-test.sh - the chart on a real cluster: installed in a namespace of its own under Pod Security "restricted" and
# default-deny, tried by the end-to-end suite, rolled, killed and scaled under load, uninstalled and installed again over
# its data. Everything it made is removed again, whatever happens.
#
# Usage: k8s-test.sh [--keep] [--no-build] [--by-tag] [--steps=LIST] [--report=FILE] [SUITE...]
#
#   --keep         leave the release running (prints how to remove it), and a cluster that it started
#   --no-build     take the images as they are
#   --by-tag       ignore the digests of others' images, for a machine with images of its own under their tags
#   --steps=LIST   of suite,rolls,upgrade,deletes,kills,engines,scale,autoscale,secret,reinstall; all of them by default
#   --report=FILE  write the report there, as Markdown
#   SUITE          names of test files in test/e2e, without .test.js; all of them by default
#
# Which cluster, by the environment:
#
#   KUBECONFIG       must be set: a test of this kind is not for whatever cluster kubectl happens to know
#   K8S_TEST_URL     where clients reach the gateways' Service; by default its node port at the first node's address
#   K8S_TEST_VALUES  file with further values of the chart, such as those of an ingress for that URL
#   K8S_TEST_IMAGES  REGISTRY/REPOSITORY:TAG of the four services' images; by default they are built here
#   K8S_TEST_LOAD    command that brings the images which are its arguments into the cluster, such as
#                    "kind load docker-image"; nothing where the nodes can pull them
#   K8S_TEST_CLIENTS, K8S_TEST_RATE   clients of the load (60), and messages a second of all of them (30)
#   K8S_TEST_WAIT    seconds that no client may wait for an ack, reconnects included; unset: the report tells, nothing fails
#
# Without KUBECONFIG, where the scripts of a test cluster lie beside the repository (../shared/kubernetes), they start one,
# and stop it afterwards. Needs kubectl, helm, node, npm, openssl, and docker where images are built.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

all_steps=suite,rolls,upgrade,deletes,kills,engines,scale,autoscale,secret,reinstall
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
for step in ${steps//,/ }; do
	case ,$all_steps, in *,"$step",*) ;; *) echo "unknown step: $step (see --help)" >&2; exit 2 ;; esac
done
say() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }
wanted() { case ,$steps, in *,"$1",*) ;; *) return 1 ;; esac; }

results=$(mktemp -d)
checks=$results/checks.md
: >"$checks"
ok() { echo "ok: $*"; echo "* $*" >>"$checks"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
random() { openssl rand -hex 24; }

# ---- the cluster
shared=../shared/kubernetes
own_cluster=''
if [ -z "${KUBECONFIG:-}" ]; then
	[ -x "$shared/cluster.sh" ] || { echo "set KUBECONFIG to a cluster for tests (see --help)" >&2; exit 2; }
	"$shared/cluster.sh" status >/dev/null 2>&1 || { say "starting a cluster"; own_cluster=1; "$shared/cluster.sh" up; }
	eval "$("$shared/cluster.sh" env)"
	: "${K8S_TEST_LOAD=$shared/cluster.sh load}"
fi
for tool in kubectl helm node npm openssl curl; do
	command -v "$tool" >/dev/null || { echo "needs $tool" >&2; exit 1; }
done
namespace=starling-test-$$ release=starling
k() { kubectl --namespace "$namespace" "$@"; }
crowd=''

finish() {
	status=$?
	trap - EXIT INT TERM
	if [ $status != 0 ]; then
		say "FAILED; what the cluster says"
		k get pods -o wide || true
		k get events --sort-by=.lastTimestamp 2>/dev/null | tail -20 || true
		for pod in $(k get pods -o name 2>/dev/null || true); do
			echo "-- $pod"
			k logs "$pod" --all-containers --tail 12 2>&1 | cut -c1-300 || true
		done
	fi
	[ -z "$crowd" ] || kill "$crowd" 2>/dev/null || true
	if [ -n "$keep" ]; then
		echo "left running: kubectl delete namespace $namespace"
	else
		say "removing everything"
		kubectl delete namespace "$namespace" --ignore-not-found --timeout 300s >/dev/null 2>&1 || true
		[ -z "$own_cluster" ] || "$shared/cluster.sh" down || true
	fi
	rm -rf "$results"
	exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

# ---- the images
services=(gateway auth-service chat-service presence-service)
base=''
if [ -n "${K8S_TEST_IMAGES:-}" ]; then
	repository=${K8S_TEST_IMAGES%:*} tag=${K8S_TEST_IMAGES##*:}
	images="those of $K8S_TEST_IMAGES"
else
	engine=../shared/docker
	if ! docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then
		[ -x "$engine/engine.sh" ] || { echo "needs docker, or K8S_TEST_IMAGES (see --help)" >&2; exit 1; }
		say "starting an engine"
		"$engine/engine.sh"
		"$engine/standins.sh"
	fi
	repository=starling tag=k8s-test
	if [ -n "$build" ]; then
		say "building the images"
		file=docker-compose.yml
		if [ -n "$by_tag" ]; then
			file=$results/docker-compose.yml
			sed -E "s/@sha256:[0-9a-f]{64}//" deploy/docker/Dockerfile >"$results/Dockerfile"
			sed -E "s/@sha256:[0-9a-f]{64}//; s%^( *dockerfile:).*%\1 $results/Dockerfile%" docker-compose.yml >"$file"
		fi
		STARLING_VERSION=$tag docker compose --project-directory "$PWD" --file "$file" --env-file /dev/null build --quiet "${services[@]}"
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
	$K8S_TEST_LOAD "${names[@]}" "$nats_image" "$postgres_image" >/dev/null
fi

# ---- the namespace: restricted, and nothing passes that no policy names
say "namespace $namespace"
kubectl create namespace "$namespace" >/dev/null
kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted pod-security.kubernetes.io/enforce-version=latest >/dev/null
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
chart() { # COMMAND [FLAG...]: install or upgrade
	local command=$1
	shift
	helm "$command" "$release" deploy/helm/starling --namespace "$namespace" --values "$values" ${K8S_TEST_VALUES:+--values "$K8S_TEST_VALUES"} \
		--wait --timeout 15m "$@" >"$results/helm.log" 2>&1 || { cat "$results/helm.log" >&2; fail "helm $command"; }
}

say "helm install"
started=$SECONDS
chart install
installed=$((SECONDS - started))
ok "The chart is installed and ready ($installed s), under Pod Security \"restricted\", in a namespace where nothing passes that no policy names."

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
as() { k exec "$release-postgresql-0" -- env PGPASSWORD="$(k get secret "$release" -o jsonpath="{.data.$2}" | base64 -d)" psql -h 127.0.0.1 -U "$1" -d starling -v ON_ERROR_STOP=1 -qtAc "$3"; }
as starling_chat db-chat-password 'SELECT count(*) FROM rooms' >/dev/null
! as starling_chat db-chat-password 'CREATE TABLE t (a int)' 2>/dev/null || fail "a running service may change its schema"
! as starling_chat db-chat-password 'SELECT count(*) FROM auth.goose_db_version' 2>/dev/null || fail "a service reads another one's schema"
ok "A running service neither changes its schema nor reads another one's."
! helm upgrade "$release" deploy/helm/starling --namespace "$namespace" --values "$values" --set gateway.replica=3 --dry-run=server >/dev/null 2>"$results/out" || fail "a misspelt value is taken"
grep -q replica "$results/out" || { cat "$results/out" >&2; fail "a misspelt value is not named"; }
ok "\`helm upgrade\` with a misspelt value is refused by its name."

# ---- the suite
say "npm ci"
(cd test/e2e && npm ci --no-audit --no-fund --loglevel=error)
if wanted suite; then
	say "the end-to-end suite"
	(cd test/e2e && STARLING_URLS=$url,$url,$url npm test -- "${suites[@]}")
	ok "The end-to-end suite passes${suites[0]:+ (${suites[*]})}."
fi

# ---- under load
# The crowd (test/e2e/crowd.js) answers each command when all its clients are served.
start_crowd() {
	coproc CROWD { exec node test/e2e/crowd.js --url="$url" --clients="${K8S_TEST_CLIENTS:-60}" --rate="${K8S_TEST_RATE:-30}" --results="$results/crowd.json" ${K8S_TEST_WAIT:+--longest="$K8S_TEST_WAIT"}; }
	crowd=$CROWD_PID
	hear
}
hear() { IFS= read -r -t 900 answer <&"${CROWD[0]}" || fail "the crowd of clients has gone"; echo "$answer"; }
# tell COMMAND: phase NAME; outage NAME, in which clients may wait for longer; end
tell() { echo "$*" >&"${CROWD[1]}"; hear; }
pod_of() { k get pods -l "app.kubernetes.io/instance=$release,app.kubernetes.io/component=$1" -o jsonpath='pod/{.items[0].metadata.name}'; }
# ready WORKLOAD...: until each has all its pods, and those that it had before are gone
ready() {
	local workload
	for workload; do k rollout status "$workload" --timeout 15m >/dev/null; done
	for ((i = 0; i < 600; i++)); do
		k get pods -o jsonpath='{range .items[*]}{.metadata.deletionTimestamp}{end}' | grep -q . || return 0
		sleep 1
	done
	fail "pods do not end"
}
deployment() { echo "deployment/$release-$1"; }
deployments=("$(deployment chat)" "$(deployment presence)" "$(deployment auth)" "$(deployment gateway)")
roll() {
	tell "phase $1 is rolled"
	k rollout restart "$(deployment "$1")" >/dev/null
	ready "$(deployment "$1")"
}

if [[ $steps =~ rolls|upgrade|deletes|kills|engines|scale|autoscale|reinstall ]]; then
	say "under load"
	start_crowd
	tell "phase nothing" # what came before was the start
	sleep 15
fi
if wanted rolls; then
	say "every Deployment is rolled"
	for name in chat presence auth gateway gateway auth presence chat; do roll "$name"; done
fi
if wanted upgrade; then
	say "helm upgrade rolls everything at once"
	tell "phase helm upgrade rolls everything at once"
	chart upgrade --set-string "gateway.podAnnotations.rolled=1,auth.podAnnotations.rolled=1,chat.podAnnotations.rolled=1,presence.podAnnotations.rolled=1"
	ready "${deployments[@]}"
fi
for how in deletes kills; do
	wanted $how || continue
	say "a pod of each is taken away ($how)"
	for name in chat presence auth gateway; do
		pod=$(pod_of "$name")
		if [ $how = deletes ]; then
			tell "phase a pod of $name is deleted"
			k delete "$pod" >/dev/null
		else
			tell "phase a pod of $name is killed"
			k delete "$pod" --grace-period 0 --force >/dev/null 2>&1
		fi
		ready "$(deployment "$name")"
	done
done
if wanted engines; then
	say "NATS and PostgreSQL are away for 10 s"
	for name in nats postgresql; do
		tell "outage $name is away for 10 s"
		k scale "statefulset/$release-$name" --replicas 0 >/dev/null
		ready "statefulset/$release-$name"
		sleep 10
		k scale "statefulset/$release-$name" --replicas 1 >/dev/null
		ready "statefulset/$release-$name"
	done
fi
if wanted scale; then
	say "scaled"
	for to in "gateway 5" "gateway 2" "chat 3" "chat 1" "chat 2" "gateway 3"; do
		tell "phase ${to% *} is scaled to ${to#* }"
		k scale "$(deployment "${to% *}")" --replicas "${to#* }" >/dev/null
		ready "$(deployment "${to% *}")"
	done
fi
if wanted autoscale; then
	say "autoscaling is turned on, and off again"
	tell "phase autoscaling of gateways is turned on"
	k get "$(deployment gateway)" --watch -o jsonpath='{.spec.replicas}{"\n"}' >"$results/replicas" &
	watch=$!
	chart upgrade --set gateway.autoscaling.enabled=true,gateway.autoscaling.minReplicas=3
	k wait --for=condition=ScalingActive "hpa/$release-gateway" --timeout 300s >/dev/null
	kill "$watch"
	wait "$watch" 2>/dev/null || true
	least=$(sort -n "$results/replicas" | head -1)
	[ "$least" = 3 ] || fail "turning autoscaling on left $least of 3 gateways: $(xargs <"$results/replicas")"
	tell "phase autoscaling of gateways is turned off"
	chart upgrade
	ready "$(deployment gateway)"
	ok "Turning autoscaling on and off leaves all gateways where they are."
fi
if wanted reinstall; then
	say "uninstalled and installed again over its data"
	tell "outage helm uninstall, helm install over the same data"
	helm uninstall "$release" --namespace "$namespace" --wait --timeout 10m >/dev/null
	kept=$(k get secret,pvc -o name | xargs)
	chart install
	ready "${deployments[@]}"
	ok "Uninstalled and installed again: $(wc -w <<<"$kept") objects (the Secret and the volumes) were kept, and every message with them."
fi
if [ -n "$crowd" ]; then
	tell "phase quiet"
	sleep 10
	say "what every client saw, against the history"
	echo end >&"${CROWD[1]}"
	hear
	wait "$crowd" || fail "see above"
	crowd=''
fi

# ---- last, for it ends the sessions of the crowd
if wanted secret; then
	say "secrets.jwtSecret is changed"
	JWT_SECRET=$(random)
	chart upgrade --set-string "secrets.jwtSecret=$JWT_SECRET"
	(cd test/e2e && STARLING_URLS=$url,$url,$url npm test -- rooms)
	ok "A changed \`secrets.jwtSecret\` is taken over by the upgrade itself."
fi

# ---- what the log says about permissions
for name in gateway auth chat presence; do
	k logs -l "app.kubernetes.io/component=$name" --all-containers --tail=-1 --prefix 2>/dev/null | grep -i 'permissions violation\|permission denied' >"$results/denied" || true
	[ ! -s "$results/denied" ] || { head -5 "$results/denied" >&2; fail "$name lacks a right"; }
done

# ---- the report
if [ -n "$report" ]; then
	{
		cat <<END
# The chart on a cluster

Written by \`make k8s-test\` (\`deploy/helm/k8s-test.sh\`) on $(date -u +%Y-%m-%d): Kubernetes $(kubectl version -o json | sed -n '/serverVersion/,/}/s/.*"gitVersion": "\(.*\)".*/\1/p'),
$(kubectl get nodes -o name | wc -l) node(s) with $(kubectl get nodes -o jsonpath='{.items[0].status.capacity.cpu}') CPUs, Helm $(helm version --template '{{.Version}}'). Images: $images.
Steps: $steps.

END
		cat "$checks"
		if [ -e "$results/crowd.json" ]; then
			echo
			node test/e2e/crowd.js --table="$results/crowd.json"
		fi
	} >"$report"
	say "the report is in $report"
fi
say "passed"
