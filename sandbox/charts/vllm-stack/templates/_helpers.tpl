{{- /* The fields of a map that are not empty, as YAML. */ -}}
{{- define "vllm.given" -}}
{{- range $key, $value := . }}{{ if $value }}
{{ toYaml (dict $key $value) }}
{{- end }}{{ end }}
{{- end }}

{{- define "vllm.standardLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
app.kubernetes.io/managed-by: helm
{{- end }}

{{- define "vllm.routerLabels" -}}
app.kubernetes.io/name: router
app.kubernetes.io/component: router
{{ include "vllm.standardLabels" . }}
{{- include "vllm.given" .Values.routerSpec.labels }}
{{- end }}

{{- /* Takes (list ROOT MODEL). */ -}}
{{- define "vllm.engineLabels" -}}
{{- $root := first . }}
app.kubernetes.io/name: {{ (last .).name }}
app.kubernetes.io/component: serving-engine
{{ include "vllm.standardLabels" $root }}
{{- include "vllm.given" $root.Values.servingEngineSpec.labels }}
{{- end }}

{{- define "vllm.engineSelector" -}}
model: {{ (last .).name }}
helm-release-name: {{ (first .).Release.Name }}
{{- include "vllm.engineLabels" . }}
{{- end }}

{{- define "vllm.strategy" -}}
strategy: {{- . | default (dict "rollingUpdate" (dict "maxSurge" "100%" "maxUnavailable" 0)) | toYaml | nindent 2 }}
{{- end }}

{{- /* Takes the map with affinity and nodeSelectorTerms. */ -}}
{{- define "vllm.affinity" -}}
{{- if .affinity }}
affinity: {{- toYaml .affinity | nindent 2 }}
{{- else if .nodeSelectorTerms }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms: {{- toYaml .nodeSelectorTerms | nindent 6 }}
{{- end }}
{{- end }}

{{- define "vllm.apiKeyEnv" -}}
{{- if and .secretName .secretKey }}
- name: VLLM_API_KEY
  valueFrom: {secretKeyRef: {name: {{ .secretName }}, key: {{ .secretKey }}}}
{{- end }}
{{- end }}

{{- define "vllm.pdb" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  {{- include "vllm.given" (pick .pdb "labels" "annotations") | nindent 2 }}
spec:
  {{- if .pdb.maxUnavailable }}
  maxUnavailable: {{ .pdb.maxUnavailable }}
  {{- else }}
  minAvailable: {{ .pdb.minAvailable | default 0 }}
  {{- end }}
  selector:
    matchLabels: {{- .selector | nindent 6 }}
{{- end }}

{{- define "vllm.engineResources" -}}
{{- $gpu := dict }}
{{- if gt (int .requestGPU) 0 }}
{{- $gpu = dict (.requestGPUType | default "nvidia.com/gpu") (toString .requestGPU) }}
{{- end }}
requests:
  cpu: {{ .requestCPU | quote }}
  memory: {{ .requestMemory | quote }}
  {{- include "vllm.given" $gpu | nindent 2 }}
  {{- include "vllm.given" (dict "nvidia.com/gpumem" .requestGPUMem "nvidia.com/gpumem-percentage" .requestGPUMemPercentage "nvidia.com/gpucores" .requestGPUCores) | nindent 2 }}
limits:
  {{- include "vllm.given" $gpu | nindent 2 }}
  {{- include "vllm.given" (dict "cpu" .limitCPU "memory" .limitMemory "nvidia.com/gpumem" .limitGPUMem "nvidia.com/gpumem-percentage" .limitGPUMemPercentage "nvidia.com/gpucores" .limitGPUCores) | nindent 2 }}
{{- end }}

{{- define "vllm.command" -}}
{{- $config := .model.vllmConfig | default dict }}
- {{ eq .model.repository "lmcache/vllm-openai" | ternary "/opt/venv/bin/vllm" "vllm" }}
- serve
- {{ .model.modelURL | quote }}
- --host
- 0.0.0.0
- --port
- {{ .port | quote }}
{{- if .model.enableLoRA }}
- --enable-lora
{{- end }}
{{- if .model.enableTool }}
- --enable-auto-tool-choice
{{- end }}
{{- with .model.toolCallParser }}
- --tool-call-parser
- {{ . | quote }}
{{- end }}
{{- if hasKey $config "enableChunkedPrefill" }}
- {{ $config.enableChunkedPrefill | ternary "--enable-chunked-prefill" "--no-enable-chunked-prefill" }}
{{- end }}
{{- if .model.vllmConfig }}
- {{ $config.enablePrefixCaching | default false | ternary "--enable-prefix-caching" "--no-enable-prefix-caching" }}
{{- end }}
{{- range $key, $flag := dict "maxModelLen" "--max-model-len" "dtype" "--dtype" "tensorParallelSize" "--tensor-parallel-size" "maxNumSeqs" "--max-num-seqs" "gpuMemoryUtilization" "--gpu_memory_utilization" "maxLoras" "--max_loras" "runner" "--runner" "convert" "--convert" }}
{{- if hasKey $config $key }}
- {{ $flag }}
- {{ get $config $key | quote }}
{{- end }}
{{- end }}
{{- range $config.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- with .model.modelRevision }}
- --revision
- {{ . | quote }}
{{- end }}
{{- with .model.chatTemplate }}
- --chat-template
- /templates/{{ . }}
{{- end }}
{{- end }}
