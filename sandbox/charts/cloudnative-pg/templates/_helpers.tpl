{{- define "cnpg.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "cnpg.fullname" -}}
{{- $name := include "cnpg.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "cnpg.namespace" -}}
{{ .Values.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{- define "cnpg.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "cnpg.fullname" .) "default") }}
{{- end }}

{{- define "cnpg.selector" -}}
app.kubernetes.io/name: {{ include "cnpg.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* annotations and labels: further labels may follow. */ -}}
{{- define "cnpg.metadata" -}}
{{- with .Values.commonAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
labels:
  helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
  {{- include "cnpg.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .Chart.AppVersion }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* The fields of a map that are not empty, as YAML. */ -}}
{{- define "cnpg.given" -}}
{{- range $key, $value := . }}{{ if $value }}
{{ toYaml (dict $key $value) }}
{{- end }}{{ end }}
{{- end }}
