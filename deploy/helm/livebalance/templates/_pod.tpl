{{/*
The pod of a service: (dict "root" $ "service" "gateway" "command" (list …) "serves" true "graceSeconds" 60 …).
`serves`: the service has /livez, /readyz and /metrics, on its port `operations`. `ready`: path of its readiness probe.
`accounts`: source of the volume in which a recorder saves accounts. `sleep`: seconds that preStop waits before SIGTERM.
*/}}
{{- define "livebalance.pod" -}}
{{- $own := index .root.Values .service -}}
{{- $secrets := include "livebalance.secrets" . | fromJson -}}
metadata:
  labels:
    {{- include "livebalance.selector" . | nindent 4 }}
    {{- with .root.Values.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .root.Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ .account | default (printf "%s-%s" (include "livebalance.fullname" .root) .service) }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .graceSeconds }}
  {{- with .restartPolicy }}
  restartPolicy: {{ . }}
  {{- end }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: {{ .service }}
      image: {{ include "livebalance.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: {{ toJson .command }}
      env:
        {{- include "livebalance.environment" . | nindent 8 }}
      {{- if .serves }}
      ports:
        {{- if eq .service "gateway" }}
        - {name: http, containerPort: 8000}
        - {name: operations, containerPort: 8001}
        {{- else }}
        - {name: operations, containerPort: 8000}
        {{- end }}
      startupProbe:
        httpGet: {path: /livez, port: operations}
        periodSeconds: 2
        failureThreshold: 30
      livenessProbe:
        httpGet: {path: /livez, port: operations}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet: {path: {{ .ready | default "/readyz" | quote }}, port: operations}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      {{- end }}
      {{- with .sleep }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ . }}}
      {{- end }}
      resources:
        {{- toYaml $own.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if $secrets }}
        - {name: secrets, mountPath: /etc/livebalance/secrets, readOnly: true}
        {{- end }}
        {{- with .accounts }}
        - {name: accounts, mountPath: /var/lib/livebalance}
        {{- end }}
        {{- range $name, $_ := .root.Values.files }}
        - {name: files-{{ $name }}, mountPath: /etc/livebalance/files/{{ $name }}, readOnly: true}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- if $secrets }}
    - name: secrets
      projected:
        defaultMode: 0440
        sources:
          {{- range $setting, $from := $secrets }}
          - secret:
              name: {{ $from.name }}
              items: [{key: {{ $from.key | quote }}, path: {{ lower $setting }}}]
          {{- end }}
    {{- end }}
    {{- with .accounts }}
    - name: accounts
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- range $name, $from := .root.Values.files }}
    - name: files-{{ $name }}
      {{- if $from.secret }}
      secret: {secretName: {{ $from.secret }}, defaultMode: 0440}
      {{- else }}
      configMap: {name: {{ $from.configMap }}, defaultMode: 0440}
      {{- end }}
    {{- end }}
  {{- if .spread }}
  topologySpreadConstraints:
    {{- range .root.Values.spread.topologyKeys }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: {{ $.root.Values.spread.whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "livebalance.selector" $ | nindent 10 }}
      matchLabelKeys: [{{ $.spread }}]
    {{- end }}
  {{- end }}
  {{- with $own.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end -}}
