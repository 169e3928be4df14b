{{/* A lane has one owner: more replicas than lanes are refused. (dict "root" $ "service" "recorder") */}}
{{- define "livebalance.lanes" -}}
{{- $own := index .root.Values .service -}}
{{- $lanes := int .root.Values.lanes -}}
{{- $replicas := ternary "keda.maxReplicas" "replicas" $own.keda.enabled -}}
{{- $most := int (ternary ($own.keda.maxReplicas | default $lanes) $own.replicas $own.keda.enabled) -}}
{{- if gt $most $lanes -}}
{{- fail (printf "%s.%s is more than there are lanes (%d): who has none does nothing" .service $replicas $lanes) -}}
{{- end -}}
{{- if and $own.keda.enabled (gt (int $own.keda.minReplicas) $most) -}}
{{- fail (printf "%s.keda.minReplicas is more than maxReplicas (%d)" .service $most) -}}
{{- end -}}
{{- end -}}

{{/* KEDA: (dict … "kind" "Deployment" "group" … "topics" (list …)). */}}
{{- define "livebalance.scaledobject" -}}
{{- $keda := (index .root.Values .service).keda -}}
{{- $brokers := include "livebalance.setting" (merge (dict "setting" "LIVEBALANCE_KAFKA" "default" "") .) -}}
{{- if not $brokers -}}
{{- fail (printf "%s.keda: it reads no Secret of ours, so LIVEBALANCE_KAFKA has to stand in settings" .service) -}}
{{- end -}}
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
        bootstrapServers: {{ $brokers | quote }}
        consumerGroup: {{ $.group | quote }}
        topic: {{ . | quote }}
        lagThreshold: {{ $keda.lag | toJson | quote }}
        offsetResetPolicy: earliest
        # A lane that is halted would have all replicas there may be, for nothing.
        excludePersistentLag: "true"
      {{- with $keda.authentication }}
      authenticationRef: {name: {{ . }}}
      {{- end }}
    {{- end }}
{{- end -}}
