{{/*
What a service is told: {"settings": …, "secrets": …} of (dict "root" $ "service" "gateway"). Its own outranks what is for
all, be it a setting or a secret; null is as if it were not there. Who owns the schema is given its own secrets alone.
*/}}
{{- define "livebalance.told" -}}
{{- $own := index .root.Values .service | default dict -}}
{{- $secrets := ternary (dict) .root.Values.secrets (eq .service "migrations") -}}
{{- $told := dict "settings" (dict) "secrets" (dict) -}}
{{- range $scope := list
      (dict "whose" "all" "settings" .root.Values.settings "secrets" $secrets)
      (dict "whose" (printf "`%s`" .service) "settings" $own.settings "secrets" $own.secrets) -}}
{{- range $kind, $other := dict "settings" "secrets" "secrets" "settings" -}}
{{- range $name, $value := get $scope $kind -}}
{{- if not (kindIs "invalid" $value) -}}
{{- if not (kindIs "invalid" (index (get $scope $other | default dict) $name)) -}}
{{- fail (printf "%s: in settings and in secrets of %s; which of the two?" $name $scope.whose) -}}
{{- end -}}
{{- $_ := set (get $told $kind) $name $value -}}
{{- $_ := unset (get $told $other) $name -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $told -}}
{{- end -}}

{{- define "livebalance.settings" -}}
{{- get (include "livebalance.told" . | fromJson) "settings" | toJson -}}
{{- end -}}

{{- define "livebalance.secrets" -}}
{{- get (include "livebalance.told" . | fromJson) "secrets" | toJson -}}
{{- end -}}

{{/* One setting, or what it is without being set: (dict … "setting" "LIVEBALANCE_DRAIN" "default" 5). */}}
{{- define "livebalance.setting" -}}
{{- $value := get (include "livebalance.settings" . | fromJson) .setting -}}
{{- if has $value (list nil "") -}}{{ .default }}{{- else -}}{{ include "livebalance.text" $value }}{{- end -}}
{{- end -}}

{{/* A value as an environment has it. By JSON, because Helm would write a million as 1e+06. */}}
{{- define "livebalance.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* Refuses what cannot work: (dict … "needs" (list "LIVEBALANCE_KAFKA" "LIVEBALANCE_JWKS|LIVEBALANCE_JWKS_URL")). */}}
{{- define "livebalance.need" -}}
{{- $told := merge (include "livebalance.settings" . | fromJson) (include "livebalance.secrets" . | fromJson) -}}
{{- $service := .service -}}
{{- range .needs -}}
{{- $found := false -}}
{{- range splitList "|" . -}}{{- if hasKey $told . -}}{{- $found = true -}}{{- end -}}{{- end -}}
{{- if not $found -}}
{{- fail (printf "%s: set one of %s, in settings or secrets of `%s` or of all" $service (replace "|" ", " .) $service) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "livebalance.environment" -}}
- name: LIVEBALANCE_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- if .member }}
- name: LIVEBALANCE_MEMBER
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}
{{- if .serves }}
- {name: LIVEBALANCE_HTTP_HOST, value: {{ .root.Values.listen | quote }}}
- {name: LIVEBALANCE_HTTP_PORT, value: "8000"}
{{- end }}
{{- if include "livebalance.secrets" . | fromJson }}
- {name: LIVEBALANCE_SECRETS, value: /etc/livebalance/secrets}
{{- end }}
{{- range $name, $value := include "livebalance.settings" . | fromJson }}
- name: {{ $name }}
  value: {{ include "livebalance.text" $value | quote }}
{{- end }}
{{- end -}}
