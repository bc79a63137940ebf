{{- define "litellm.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "litellm.fullname" -}}
{{- $name := include "litellm.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "litellm.selector" -}}
app.kubernetes.io/name: {{ include "litellm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "litellm.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{ include "litellm.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "litellm.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "litellm.fullname" .) "default") }}
{{- end }}

{{- /* The fields of a map that are not empty, as YAML. */ -}}
{{- define "litellm.given" -}}
{{- range $key, $value := . }}{{ if $value }}
{{ toYaml (dict $key $value) }}
{{- end }}{{ end }}
{{- end }}

{{- define "litellm.image" -}}
image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
{{- end }}

{{- define "litellm.databaseEnv" -}}
{{- if .Values.db.useExisting }}
{{- $secret := .Values.db.secret }}
- name: DATABASE_USERNAME
  valueFrom: {secretKeyRef: {name: {{ $secret.name }}, key: {{ $secret.usernameKey }}}}
- name: DATABASE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $secret.name }}, key: {{ $secret.passwordKey }}}}
- name: DATABASE_HOST
{{- if $secret.endpointKey }}
  valueFrom: {secretKeyRef: {name: {{ $secret.name }}, key: {{ $secret.endpointKey }}}}
{{- else }}
  value: {{ .Values.db.endpoint | quote }}
{{- end }}
- name: DATABASE_NAME
  value: {{ .Values.db.database | quote }}
- name: DATABASE_URL
  value: {{ .Values.db.url | quote }}
{{- end }}
{{- end }}

{{- /* envVars and extraEnvVars, which the proxy and the migration Job share. */ -}}
{{- define "litellm.userEnv" -}}
{{- range $name, $value := .Values.envVars }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- with .Values.extraEnvVars }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "litellm.probe" -}}
httpGet: {path: {{ .path }}, port: http}
{{ toYaml (omit . "path") }}
{{- end }}
