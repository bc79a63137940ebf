{{- /* The templates below take (list ROOT COMPONENT): COMPONENT is "controller", "webhook" or "cainjector". */ -}}
{{- define "certmanager.fullname" -}}
{{- $root := first . }}
{{- $release := contains $root.Chart.Name $root.Release.Name | ternary $root.Release.Name (printf "%s-%s" $root.Release.Name $root.Chart.Name) }}
{{- eq (last .) "controller" | ternary $release (printf "%s-%s" $release (last .)) }}
{{- end }}

{{- define "certmanager.selector" -}}
app.kubernetes.io/name: {{ eq (last .) "controller" | ternary (first .).Chart.Name (last .) }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{- define "certmanager.labels" -}}
{{- $root := first . }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
{{ include "certmanager.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- include "certmanager.given" $root.Values.global.commonLabels }}
{{- end }}

{{- /* (list ROOT IMAGE): IMAGE is a map of name, repository, tag and digest. */ -}}
{{- define "certmanager.image" -}}
{{- $values := (first .).Values }}
{{- $image := last . }}
{{- $repository := $image.repository | default (printf "%s/%s/%s" $values.imageRegistry $values.imageNamespace $image.name) }}
{{- printf "%s:%s" $repository ($image.tag | default (first .).Chart.AppVersion) }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- /* The fields of a map that are not empty, as YAML. */ -}}
{{- define "certmanager.given" -}}
{{- range $key, $value := . }}{{ if $value }}
{{ toYaml (dict $key $value) }}
{{- end }}{{ end }}
{{- end }}
