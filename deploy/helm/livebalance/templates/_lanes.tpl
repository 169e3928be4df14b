{{/* Rejects more replicas than lanes, because each lane has one owner: (dict "root" $ "service" "recorder"). */}}
{{- define "livebalance.lanes" -}}
{{- $own := index .root.Values .service -}}
{{- $lanes := int .root.Values.lanes -}}
{{- $replicas := ternary "keda.maxReplicas" "replicas" $own.keda.enabled -}}
{{- $maximum := int (ternary ($own.keda.maxReplicas | default $lanes) $own.replicas $own.keda.enabled) -}}
{{- if gt $maximum $lanes -}}
{{- fail (printf "%s.%s exceeds the number of lanes (%d): a replica without a lane would be idle" .service $replicas $lanes) -}}
{{- end -}}
{{- if and $own.keda.enabled (gt (int $own.keda.minReplicas) $maximum) -}}
{{- fail (printf "%s.keda.minReplicas exceeds maxReplicas (%d)" .service $maximum) -}}
{{- end -}}
{{- end -}}

{{/* A ScaledObject of KEDA: (dict … "kind" "Deployment" "group" … "topics" (list …)). */}}
{{- define "livebalance.scaledobject" -}}
{{- $keda := (index .root.Values .service).keda -}}
{{- $brokers := include "livebalance.setting" (merge (dict "setting" "LIVEBALANCE_KAFKA" "default" "") .) -}}
{{- if not $brokers -}}
{{- fail (printf "%s.keda: KEDA cannot read LIVEBALANCE_KAFKA from a Secret, so set it in settings" .service) -}}
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
  # Each change of the replicas moves lanes, which pauses them for a moment.
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
        # The lag of a halted lane would otherwise scale to the maximum, without any effect.
        excludePersistentLag: "true"
      {{- with $keda.authentication }}
      authenticationRef: {name: {{ . }}}
      {{- end }}
    {{- end }}
{{- end -}}
