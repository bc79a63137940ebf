{{- define "barman.fullname" -}}
{{ contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "barman.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "barman.fullname" .) "default") }}
{{- end }}

{{- define "barman.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "barman.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{ include "barman.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* (list ROOT IMAGE): IMAGE is a map of registry, repository and tag. */ -}}
{{- define "barman.image" -}}
{{- $image := last . }}
{{- printf "%s/%s:%s" $image.registry $image.repository ($image.tag | default (first .).Chart.AppVersion) }}
{{- end }}

{{- /* The fields of a map that are not empty, as YAML. */ -}}
{{- define "barman.given" -}}
{{- range $key, $value := . }}{{ if $value }}
{{ toYaml (dict $key $value) }}
{{- end }}{{ end }}
{{- end }}
