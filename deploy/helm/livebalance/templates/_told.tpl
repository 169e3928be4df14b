{{/* What a service is told: (dict "root" $ "service" "gateway"). Its own settings outrank those for all. */}}
{{- define "livebalance.settings" -}}
{{- include "livebalance.outranked" (list .root.Values.settings (index .root.Values .service).settings) -}}
{{- end -}}

{{/* Who owns the schema is given what is its own, and nothing else. */}}
{{- define "livebalance.secrets" -}}
{{- $all := ternary (dict) .root.Values.secrets (eq .service "migrations") -}}
{{- include "livebalance.outranked" (list $all (index .root.Values .service).secrets) -}}
{{- end -}}

{{/* Maps, each outranked by the next. By hand, because `merge` takes false and 0 for nothing. */}}
{{- define "livebalance.outranked" -}}
{{- $told := dict -}}
{{- range . -}}{{- range $name, $value := . -}}{{- $_ := set $told $name $value -}}{{- end -}}{{- end -}}
{{- toJson $told -}}
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
- {name: LIVEBALANCE_HTTP_HOST, value: 0.0.0.0}
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
