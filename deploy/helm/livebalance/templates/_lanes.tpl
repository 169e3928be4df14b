{{/* A lane has one owner: more replicas than lanes are refused. (dict "root" $ "service" "recorder") */}}
{{- define "livebalance.lanes" -}}
{{- $own := index .root.Values .service -}}
{{- $lanes := int .root.Values.lanes -}}
{{- if $own.keda.enabled -}}
{{- if gt (int ($own.keda.maxReplicas | default $lanes)) $lanes -}}
{{- fail (printf "%s.keda.maxReplicas is more than there are lanes (%d): who has none does nothing" .service $lanes) -}}
{{- end -}}
{{- else if gt (int $own.replicas) $lanes -}}
{{- fail (printf "%s.replicas is more than there are lanes (%d): who has none does nothing" .service $lanes) -}}
{{- end -}}
{{- end -}}

{{/* KEDA: (dict … "kind" "Deployment" "group" … "topics" (list …)). */}}
{{- define "livebalance.scaledobject" -}}
{{- $keda := (index .root.Values .service).keda -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "livebalance.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ .kind }}
    name: {{ include "livebalance.fullname" .root }}-{{ .service }}
  minReplicaCount: {{ $keda.minReplicas }}
  maxReplicaCount: {{ $keda.maxReplicas | default .root.Values.lanes }}
  # Each change moves lanes, and stops them for a moment.
  cooldownPeriod: 300
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleUp:
          stabilizationWindowSeconds: 60
        scaleDown:
          stabilizationWindowSeconds: 600
          policies: [{type: Pods, value: 1, periodSeconds: 300}]
  triggers:
    {{- range .topics }}
    - type: kafka
      metadata:
        bootstrapServers: {{ include "livebalance.setting" (merge (dict "setting" "LIVEBALANCE_KAFKA" "default" "") $) | quote }}
        consumerGroup: {{ $.group | quote }}
        topic: {{ . | quote }}
        lagThreshold: {{ $keda.lag | toJson | quote }}
        offsetResetPolicy: earliest
      {{- with $keda.authentication }}
      authenticationRef: {name: {{ . }}}
      {{- end }}
    {{- end }}
{{- end -}}
