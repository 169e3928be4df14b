{{/* Prefix of all object names: the release, followed by the chart unless the release's name contains it. */}}
{{- define "livebalance.fullname" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select the pods of one service, or of all services: (dict "root" $ "service" "gateway"). */}}
{{- define "livebalance.selector" -}}
app.kubernetes.io/name: livebalance
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .service }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "livebalance.labels" -}}
{{ include "livebalance.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "livebalance.metadata" -}}
name: {{ include "livebalance.fullname" .root }}{{ with .service }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "livebalance.labels" . | nindent 2 }}
{{- end -}}

{{/*
The field `replicas` of a workload: (dict "root" $ "service" "gateway" "kind" "Deployment" "autoscaled" true). An autoscaler
decides the number, but the first release without the field would reset it to 1, so the number that the cluster has stays.
*/}}
{{- define "livebalance.replicas" -}}
{{- if not .autoscaled }}
{{- printf "replicas: %d" (int (get .root.Values .service).replicas) }}
{{- else }}
{{- $name := printf "%s-%s" (include "livebalance.fullname" .root) .service }}
{{- with lookup "apps/v1" .kind .root.Release.Namespace $name }}
{{- printf "replicas: %d" (int .spec.replicas) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "livebalance.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
