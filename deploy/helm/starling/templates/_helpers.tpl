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
{{- with $i.registry }}{{ . }}/{{ end }}{{ with $i.repository }}{{ . }}/{{ end }}{{ .service }}:{{ default .root.Chart.AppVersion $i.tag -}}
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
{{- if and $v.auth.autoProvision (not (or $v.secrets.existingSecret $v.secrets.jwtSecret $v.auth.tokenIssuers (hasKey $v.auth.settings "TOKEN_ISSUERS"))) }}{{ fail "auth.autoProvision needs auth.tokenIssuers, secrets.jwtSecret or an existing Secret with the key jwt-secret" }}{{ end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}{{ fail "httpRoute.parentRefs is required while httpRoute.enabled is true" }}{{ end -}}
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
name: migrate
image: {{ include "starling.image" (dict "root" .root "service" (printf "%s-service" .component)) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: ["--migrate-only"]
env:
  {{- include "starling.databaseEnv" (dict "root" .root "role" (printf "starling_%s_owner" .component) "key" "db-owner-password") | nindent 2 }}
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
{{- end -}}

{{- define "starling.ports" -}}
{{- dict "auth" (dict "grpc" 7001 "admin" 8081) "chat" (dict "grpc" 7002 "admin" 8082) "presence" (dict "grpc" 7003 "admin" 8083) | toYaml -}}
{{- end -}}
