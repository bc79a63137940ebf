{{- define "eso.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "eso.fullname" -}}
{{- $name := include "eso.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "eso.namespace" -}}
{{ .Values.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{- /* The fields of a map that are not empty, as YAML. */ -}}
{{- define "eso.given" -}}
{{- range $key, $value := . }}{{ if $value }}
{{ toYaml (dict $key $value) }}
{{- end }}{{ end }}
{{- end }}

{{- /* The templates below take (list ROOT SUFFIX): SUFFIX is "" (the controller), "-webhook" or "-cert-controller". */ -}}
{{- define "eso.selector" -}}
{{- $root := first . }}
app.kubernetes.io/name: {{ include "eso.name" $root }}{{ last . }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end }}

{{- define "eso.labels" -}}
{{- $root := first . }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
{{ include "eso.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- include "eso.given" $root.Values.commonLabels }}
{{- end }}

{{- define "eso.componentValues" -}}
{{- $values := (first .).Values }}
{{- toYaml (get (dict "" $values "-webhook" $values.webhook "-cert-controller" $values.certController) (last .)) }}
{{- end }}

{{- /* Only the controller's default name follows the release's. */ -}}
{{- define "eso.serviceAccount" -}}
{{- $settings := (include "eso.componentValues" . | fromYaml).serviceAccount }}
{{- $name := last . | empty | not | ternary (printf "external-secrets%s" (last .)) (include "eso.fullname" (first .)) }}
{{- $settings.name | default ($settings.create | ternary $name "default") }}
{{- end }}
