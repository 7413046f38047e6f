{{/* Names. A release called "starling" gives starling-gateway, another one NAME-starling-gateway. */}}
{{- define "starling.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "starling.fullname" -}}
{{- $name := include "starling.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select pods never change; call with (dict "root" $ "component" "gateway"). */}}
{{- define "starling.selector" -}}
app.kubernetes.io/name: {{ include "starling.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "starling.labels" -}}
{{ include "starling.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: starling
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Image of a service: (dict "root" $ "service" "chat-service"). */}}
{{- define "starling.image" -}}
{{- $i := .root.Values.image -}}
{{- with $i.registry }}{{ . }}/{{ end }}{{ with $i.repository }}{{ . }}/{{ end }}{{ .service }}:{{ default .root.Chart.AppVersion $i.tag }}{{ with index $i.digests .service }}@{{ . }}{{ end -}}
{{- end -}}

{{- define "starling.secretName" -}}
{{- default (include "starling.fullname" .) .Values.secrets.existingSecret -}}
{{- end -}}

{{/* Refusals that the schema cannot express. */}}
{{- define "starling.validate" -}}
{{- $v := .Values -}}
{{- if not (or $v.nats.bundled.enabled $v.nats.url) }}{{ fail "nats.url is required while nats.bundled.enabled is false" }}{{ end -}}
{{- if not (or $v.postgresql.bundled.enabled $v.postgresql.host) }}{{ fail "postgresql.host is required while postgresql.bundled.enabled is false" }}{{ end -}}
{{- if not (or $v.secrets.existingSecret (and $v.nats.bundled.enabled $v.postgresql.bundled.enabled)) }}{{ fail "secrets.existingSecret is required with a NATS or PostgreSQL of your own: their passwords cannot be generated here" }}{{ end -}}
{{- if and $v.secrets.existingSecret $v.secrets.jwtSecret }}{{ fail "secrets.jwtSecret has no effect with secrets.existingSecret: put the key jwt-secret into that Secret" }}{{ end -}}
{{- if and $v.secrets.existingSecret $v.secrets.seed }}{{ fail "secrets.seed has no effect with secrets.existingSecret" }}{{ end -}}
{{- if and $v.auth.autoProvision (not (or $v.secrets.existingSecret $v.secrets.jwtSecret $v.auth.tokenIssuers)) }}{{ fail "auth.autoProvision needs auth.tokenIssuers, secrets.jwtSecret or an existing Secret with the key jwt-secret" }}{{ end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}{{ fail "httpRoute.parentRefs is required while httpRoute.enabled is true" }}{{ end -}}
{{- if and $v.nats.bundled.enabled (or $v.nats.tls.secret $v.nats.credsSecret) }}{{ fail "nats.tls.secret and nats.credsSecret are for a NATS of your own: the bundled one has neither TLS nor credentials files" }}{{ end -}}
{{- if and $v.nats.tls.clientCert (not $v.nats.tls.secret) }}{{ fail "nats.tls.clientCert needs nats.tls.secret" }}{{ end -}}
{{- range $component := list "gateway" "auth" "chat" "presence" }}
{{- $own := include "starling.ownSettings" (dict "component" $component) | fromYaml -}}
{{- range $name, $_ := (index $v $component).settings }}{{ with get $own $name }}{{ fail (printf "%s.settings.%s is for the chart to set: %s" $component $name .) }}{{ end }}{{ end -}}
{{- range (index $v $component).extraEnv }}{{ $name := .name }}{{ with get $own $name }}{{ fail (printf "%s.extraEnv: %s is for the chart to set: %s" $component $name .) }}{{ end }}{{ end -}}
{{- with (index $v $component).autoscaling }}{{ if gt (int .minReplicas) (int .maxReplicas) }}{{ fail (printf "autoscaling: minReplicas %d is above maxReplicas %d" (int .minReplicas) (int .maxReplicas)) }}{{ end }}{{ end -}}
{{- end -}}
{{- if and (get $v.gateway.settings "GRPC_LISTEN") (not (include "starling.gatewayGRPC" .)) }}{{ fail "gateway.settings.GRPC_LISTEN names no port: such as \":7004\"" }}{{ end -}}
{{- if has (include "starling.gatewayGRPC" .) (list "3000" "8080") }}{{ fail "gateway.settings.GRPC_LISTEN: the port is taken" }}{{ end -}}
{{- /* Seen only where Helm speaks to the cluster, and the Secret is there already. */ -}}
{{- with $v.secrets.existingSecret }}
{{- $name := . -}}
{{- with lookup "v1" "Secret" $.Release.Namespace . }}
{{- $have := .data | default dict -}}
{{- $missing := list -}}
{{- range splitList " " (include "starling.requiredKeys" $) }}{{ if not (or (index $have .) (and (hasSuffix "-owner-password" .) (index $have "db-owner-password"))) }}{{ $missing = append $missing . }}{{ end }}{{ end -}}
{{- if has "key-encryption-secret" $missing }}{{ fail (printf "the Secret %s lacks key-encryption-secret, without which the keys that sign tokens lie plain in the database: add it once and keep it (openssl rand -hex 32), or set secrets.encryptSigningKeys=false; it lacks in all: %s" $name (join ", " $missing)) }}{{ end -}}
{{- if $missing }}{{ fail (printf "the Secret %s (secrets.existingSecret) lacks the keys %s" $name (join ", " $missing)) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Pods of a Deployment: (dict "root" $ "name" NAME "values" .Values.gateway). Under autoscaling those that it has, at least the fewest:
     without a number an upgrade that turns autoscaling on would have Kubernetes take all pods but one. */}}
{{- define "starling.replicas" -}}
{{- $v := .values -}}
{{- if $v.autoscaling.enabled -}}
{{- max (int (dig "spec" "replicas" 0 (lookup "apps/v1" "Deployment" .root.Release.Namespace .name | default dict))) (int $v.autoscaling.minReplicas) -}}
{{- else -}}
{{- $v.replicas -}}
{{- end -}}
{{- end -}}

{{/* The keys of the Secret that this chart makes where there is none. */}}
{{- define "starling.madeKeys" -}}
service-token service-token-presence api-key key-encryption-secret nats-gateway-password nats-auth-password nats-chat-password nats-presence-password postgres-password db-auth-owner-password db-chat-owner-password db-presence-owner-password db-auth-password db-chat-password db-presence-password
{{- end -}}

{{/* A new value for a key of the Secret: at random, or from secrets.seed: (dict "root" $ "key" KEY). */}}
{{- define "starling.drawn" -}}
{{- with .root.Values.secrets.seed -}}
{{- printf "%s/%s/%s/%s" . $.root.Release.Namespace $.root.Release.Name $.key | sha256sum | trunc 40 | b64enc -}}
{{- else -}}
{{- randAlphaNum 40 | b64enc -}}
{{- end -}}
{{- end -}}

{{/* The data of the Secret, as JSON: what an existing one holds (nothing where Helm does not see it), or what this chart makes. Random
     values are drawn once: whatever asks again, in whichever template, gets the same. */}}
{{- define "starling.secretData" -}}
{{- $s := .Values.secrets -}}
{{- if not (hasKey $s "data") -}}
{{- $data := get (lookup "v1" "Secret" .Release.Namespace (include "starling.secretName" .) | default dict) "data" | default dict | deepCopy -}}
{{- if not $s.existingSecret -}}
{{- range include "starling.madeKeys" . | splitList " " }}
{{- /* The owners had one password in an older version's Secret, and PostgreSQL knows them by it. */ -}}
{{- $drawn := get $data (ternary "db-owner-password" "" (hasSuffix "-owner-password" .)) | default (include "starling.drawn" (dict "root" $ "key" .)) -}}
{{- if not (index $data .) }}{{ $_ := set $data . $drawn }}{{ end -}}
{{- end -}}
{{- if and (get .Values.auth.settings "ADMIN_USERNAME") (not (index $data "admin-password")) }}{{ $_ := set $data "admin-password" (include "starling.drawn" (dict "root" $ "key" "admin-password")) }}{{ end -}}
{{- $_ := unset $data "jwt-secret" -}}
{{- with $s.jwtSecret }}{{ $_ := set $data "jwt-secret" (b64enc .) }}{{ end -}}
{{- end -}}
{{- $_ := set $s "data" $data -}}
{{- end -}}
{{- toJson $s.data -}}
{{- end -}}

{{/* Changes when a key of the Secret does that the variables ENV refer to, so that pods take it over: (dict "root" $ "env" ENV). All keys
     are hashed together, so that nobody can try out one of them. */}}
{{- define "starling.secretsChecksum" -}}
{{- $data := include "starling.secretData" .root | fromJson -}}
{{- $used := dict -}}
{{- range fromYamlArray .env -}}
{{- with dig "valueFrom" "secretKeyRef" "key" "" . }}{{ $_ := set $used . (get $data .) }}{{ end -}}
{{- end -}}
{{- toJson $used | sha256sum -}}
{{- end -}}

{{/* One environment variable from the Secret: (dict "root" $ "env" NAME "key" KEY "optional" true). */}}
{{- define "starling.secretEnv" -}}
- name: {{ .env }}
  valueFrom:
    secretKeyRef:
      name: {{ include "starling.secretName" .root }}
      key: {{ .key }}
      {{- if get . "optional" }}
      optional: true
      {{- end }}
{{- end -}}

{{/* DATABASE_URL of a role: (dict "root" $ "component" "chat" "role" "starling_chat" "key" "db-chat-password"). */}}
{{- define "starling.databaseEnv" -}}
{{- $pg := .root.Values.postgresql -}}
{{- $host := ternary (printf "%s-postgresql" (include "starling.fullname" .root)) $pg.host $pg.bundled.enabled -}}
{{- $port := ternary 5432 (int $pg.port) $pg.bundled.enabled -}}
{{- $mode := ternary "disable" $pg.sslmode $pg.bundled.enabled -}}
{{ include "starling.secretEnv" (dict "root" .root "env" "DB_PASSWORD" "key" .key) }}
- name: DATABASE_URL
  value: postgres://{{ .role }}:$(DB_PASSWORD)@{{ $host }}:{{ $port }}/{{ $pg.database }}?sslmode={{ $mode }}
{{- end -}}

{{- define "starling.natsURL" -}}
{{- if .Values.nats.bundled.enabled -}}
nats://{{ include "starling.fullname" . }}-nats:4222
{{- else -}}
{{ .Values.nats.url }}
{{- end -}}
{{- end -}}

{{/* Who a service is for NATS, as settings: (dict "root" $ "component" "chat"). */}}
{{- define "starling.natsSettings" -}}
{{- $nats := .root.Values.nats -}}
{{- if $nats.credsSecret -}}
NATS_CREDS: /etc/starling/nats-creds/{{ .component }}.creds
{{- else -}}
NATS_USER: {{ ternary "gateway" (printf "%s-service" .component) (eq .component "gateway") }}
{{- end }}
{{- if $nats.tls.secret }}
NATS_TLS_CA: /etc/starling/nats-tls/ca.crt
{{- if $nats.tls.clientCert }}
NATS_TLS_CERT: /etc/starling/nats-tls/tls.crt
NATS_TLS_KEY: /etc/starling/nats-tls/tls.key
{{- end }}
{{- end }}
{{- end -}}

{{- define "starling.natsEnv" -}}
{{- if not .root.Values.nats.credsSecret -}}
{{ include "starling.secretEnv" (dict "root" .root "env" "NATS_PASSWORD" "key" (printf "nats-%s-password" .component)) }}
{{- end -}}
{{- end -}}

{{/* TLS of gRPC. */}}
{{- define "starling.grpcSettings" -}}
{{- if .root.Values.tls.secret -}}
GRPC_TLS_CERT: /etc/starling/tls/tls.crt
GRPC_TLS_KEY: /etc/starling/tls/tls.key
GRPC_TLS_CA: /etc/starling/tls/ca.crt
GRPC_TLS_CLIENT_CERTS: {{ .root.Values.tls.clientCerts | quote }}
{{- end -}}
{{- end -}}

{{/* What a service shows whom it calls, and who may call it: (dict "root" $ "component" "chat"). */}}
{{- define "starling.callersEnv" -}}
{{- if eq .component "presence" -}}
{{ include "starling.secretEnv" (dict "root" .root "env" "SERVICE_TOKEN" "key" "service-token-presence") }}
{{ end -}}
{{ include "starling.secretEnv" (dict "root" .root "env" "GATEWAY_SERVICE_TOKEN" "key" "service-token") }}
{{- if eq .component "chat" }}
{{ include "starling.secretEnv" (dict "root" .root "env" "PRESENCE_SERVICE_TOKEN" "key" "service-token-presence") }}
{{- end }}
- name: SERVICE_TOKENS
  value: gateway=$(GATEWAY_SERVICE_TOKEN){{ if eq .component "chat" }},presence-service=$(PRESENCE_SERVICE_TOKEN){{ end }}
{{- end -}}

{{/* Files with certificates and credentials, and what the operator adds: (dict "root" $ "component" "chat" "values" .Values.chat). With
     "migrate" true only what a migration needs of it. */}}
{{- define "starling.fileMounts" -}}
{{- $v := .root.Values -}}
{{- $mounts := list -}}
{{- if not (get . "migrate") -}}
{{- if $v.tls.secret }}{{ $mounts = append $mounts (dict "name" "tls" "mountPath" "/etc/starling/tls" "readOnly" true) }}{{ end -}}
{{- if $v.nats.tls.secret }}{{ $mounts = append $mounts (dict "name" "nats-tls" "mountPath" "/etc/starling/nats-tls" "readOnly" true) }}{{ end -}}
{{- if $v.nats.credsSecret }}{{ $mounts = append $mounts (dict "name" "nats-creds" "mountPath" "/etc/starling/nats-creds" "readOnly" true) }}{{ end -}}
{{- end -}}
{{- if or $v.ca.secret $v.ca.configMap }}{{ $mounts = append $mounts (dict "name" "ca" "mountPath" "/etc/starling/ca" "readOnly" true) }}{{ end -}}
{{- with concat $mounts .values.extraVolumeMounts -}}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "starling.fileVolumes" -}}
{{- $v := .root.Values -}}
{{- $volumes := list -}}
{{- if not (get . "migrate") -}}
{{- with $v.tls.secret }}{{ $volumes = append $volumes (dict "name" "tls" "secret" (dict "secretName" . "defaultMode" 0440)) }}{{ end -}}
{{- with $v.nats.tls.secret }}{{ $volumes = append $volumes (dict "name" "nats-tls" "secret" (dict "secretName" . "defaultMode" 0440)) }}{{ end -}}
{{- /* Of all services' credentials each pod gets its own. */ -}}
{{- $creds := printf "%s.creds" .component -}}
{{- with $v.nats.credsSecret }}{{ $volumes = append $volumes (dict "name" "nats-creds" "secret" (dict "secretName" . "defaultMode" 0440 "items" (list (dict "key" $creds "path" $creds)))) }}{{ end -}}
{{- end -}}
{{- $ca := list -}}
{{- with $v.ca.secret }}{{ $ca = append $ca (dict "secret" (dict "name" . "items" (list (dict "key" "ca.crt" "path" "ca.crt")))) }}{{ end -}}
{{- with $v.ca.configMap }}{{ $ca = append $ca (dict "configMap" (dict "name" .)) }}{{ end -}}
{{- with $ca }}{{ $volumes = append $volumes (dict "name" "ca" "projected" (dict "sources" .)) }}{{ end -}}
{{- with concat $volumes .values.extraVolumes -}}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* Variables that are no settings: where Go looks for authorities beside those of the image, and what the operator adds. A migration does
     without the second values of secrets that are being replaced: it has none of the first ones, and would refuse to start. */}}
{{- define "starling.extraEnv" -}}
{{- if or .root.Values.ca.secret .root.Values.ca.configMap }}
- {name: SSL_CERT_DIR, value: /etc/starling/ca}
{{- end }}
{{- $migrate := get . "migrate" -}}
{{- range .values.extraEnv }}
{{- if not (and $migrate (regexMatch "_OTHER(_FILE)?$" .name)) }}
{{ list . | toYaml }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The settings that are not for `settings`, because this chart sets them, each with what to use instead. */}}
{{- define "starling.ownSettings" -}}
ADMIN_LISTEN: probes and policies rely on it
LOG_LEVEL: use logging.level
LOG_FORMAT: use logging.format
OTLP_ENDPOINT: use otlpEndpoint
NATS_URL: use nats.url
NATS_USER: it follows from the service
NATS_PASSWORD: use the key nats-{{ .component }}-password of the Secret
NATS_CREDS: use nats.credsSecret
NATS_TLS_CA: use nats.tls.secret
NATS_TLS_CERT: use nats.tls.clientCert
NATS_TLS_KEY: use nats.tls.clientCert
GRPC_TLS_CERT: use tls.secret
GRPC_TLS_KEY: use tls.secret
GRPC_TLS_CA: use tls.secret
GRPC_TLS_CLIENT_CERTS: use tls.clientCerts
{{- if eq .component "gateway" }}
LISTEN: Services and policies rely on it
GATEWAY_ID: it is the pod's name
AUTH_SERVICE_ADDR: it is the Service of auth-service
CHAT_SERVICE_ADDR: it is the Service of chat-service
PRESENCE_SERVICE_ADDR: it is the Service of presence-service
DRAIN_WINDOW: use gateway.drainSeconds, from which the time to stop and the pod's grace follow
SHUTDOWN_TIMEOUT: use gateway.drainSeconds, from which the time to stop and the pod's grace follow
FRONTEND_URL: use gateway.frontendUrl
TRUSTED_PROXIES: use gateway.trustedProxies
SERVICE_TOKEN: use the key service-token of the Secret
SERVICE_TOKENS: use the key service-tokens-gateway of the Secret
SID_SECRET: use the key sid-secret of the Secret
ACME_DOMAINS: certificates of several pods come from the ingress, or from files (TLS_CERT and gateway.extraVolumes)
ACME_EMAIL: there is no ACME_DOMAINS here
ACME_DIRECTORY: there is no ACME_DOMAINS here
ACME_CACHE: there is no ACME_DOMAINS here
HTTP_LISTEN: the ingress sends clients to HTTPS
{{- else }}
GRPC_LISTEN: Services and policies rely on it
SHUTDOWN_TIMEOUT: the pod's grace is made for the default
SERVICE_TOKEN: it is a key of the Secret
SERVICE_TOKENS: they are keys of the Secret
DATABASE_URL: use postgresql and the key db-{{ .component }}-password of the Secret
DB_MAX_CONNS: use {{ .component }}.dbMaxConns
DB_SCHEMA: roles and policies rely on it
DB_MIGRATE: use migrations.enabled
DB_MIGRATE_ONLY: use migrations.enabled
{{- end }}
{{- if eq .component "auth" }}
AUTH_AUTO_PROVISION: use auth.autoProvision
TOKEN_ISSUERS: use auth.tokenIssuers
JWT_SECRET: use secrets.jwtSecret, or the key jwt-secret of the Secret
API_KEY: use the key api-key of the Secret
KEY_ENCRYPTION_SECRET: use the key key-encryption-secret of the Secret
ADMIN_PASSWORD: use the key admin-password of the Secret
{{- else if eq .component "chat" }}
ROOMS_AUTOCREATE: use chat.roomsAutocreate
{{- else if eq .component "presence" }}
CHAT_SERVICE_ADDR: it is the Service of chat-service
{{- end }}
{{- end -}}

{{/* The port on which gateways answer gRPC of backends, or nothing. */}}
{{- define "starling.gatewayGRPC" -}}
{{- with get .Values.gateway.settings "GRPC_LISTEN" | default "" | toString }}{{ regexFind "[0-9]+$" . }}{{ end -}}
{{- end -}}

{{/* The key with the password of a schema's owner: (dict "root" $ "component" "chat"). A Secret made for an older version has one for all. */}}
{{- define "starling.ownerKey" -}}
{{- $data := include "starling.secretData" .root | fromJson -}}
{{- $key := printf "db-%s-owner-password" .component -}}
{{- ternary "db-owner-password" $key (and (hasKey $data "db-owner-password") (not (hasKey $data $key))) -}}
{{- end -}}

{{/* The keys that a Secret of one's own has to have. */}}
{{- define "starling.requiredKeys" -}}
{{- $v := .Values -}}
{{- $keys := list "service-token" "service-token-presence" "db-auth-owner-password" "db-chat-owner-password" "db-presence-owner-password" "db-auth-password" "db-chat-password" "db-presence-password" -}}
{{- if not $v.nats.credsSecret }}{{ $keys = concat $keys (list "nats-gateway-password" "nats-auth-password" "nats-chat-password" "nats-presence-password") }}{{ end -}}
{{- if $v.secrets.encryptSigningKeys }}{{ $keys = append $keys "key-encryption-secret" }}{{ end -}}
{{- if $v.postgresql.bundled.enabled }}{{ $keys = append $keys "postgres-password" }}{{ end -}}
{{- if get $v.auth.settings "ADMIN_USERNAME" }}{{ $keys = append $keys "admin-password" }}{{ end -}}
{{ join " " $keys }}
{{- end -}}

{{/* Pod Security level "restricted". */}}
{{- define "starling.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .uid }}
runAsGroup: {{ .uid }}
fsGroup: {{ .uid }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "starling.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What every pod has: (dict "root" $ "uid" 65532). */}}
{{- define "starling.podCommon" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "starling.podSecurity" . | nindent 2 }}
{{- end -}}

{{/* Where pods go: (dict "root" $ "component" "gateway" "values" .Values.gateway). */}}
{{- define "starling.placement" -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "starling.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The container that migrates a schema, as its owner. */}}
{{- define "starling.migrateContainer" -}}
{{- $c := dict "root" .root "component" .component "values" (index .root.Values .component) "migrate" true -}}
name: migrate
image: {{ include "starling.image" (dict "root" .root "service" (printf "%s-service" .component)) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: ["--migrate-only"]
env:
  {{- include "starling.databaseEnv" (dict "root" .root "role" (printf "starling_%s_owner" .component) "key" (include "starling.ownerKey" .)) | nindent 2 }}
  {{- include "starling.extraEnv" $c | nindent 2 }}
  - name: NATS_URL
    value: {{ include "starling.natsURL" .root }}
  - name: LOG_LEVEL
    value: {{ .root.Values.logging.level }}
  - name: LOG_FORMAT
    value: {{ .root.Values.logging.format }}
resources:
  requests: {cpu: 50m, memory: 64Mi}
  limits: {memory: 256Mi}
securityContext:
  {{- include "starling.containerSecurity" . | nindent 2 }}
{{ include "starling.fileMounts" $c }}
{{- end -}}

{{- define "starling.ports" -}}
{{- dict "auth" (dict "grpc" 7001 "admin" 8081) "chat" (dict "grpc" 7002 "admin" 8082) "presence" (dict "grpc" 7003 "admin" 8083) | toYaml -}}
{{- end -}}
