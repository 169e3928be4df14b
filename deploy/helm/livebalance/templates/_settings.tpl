{{/*
The configuration of a service, {"settings": …, "secrets": …}: (dict "root" $ "service" "gateway"). Values of the service
override those for all services, whether setting or secret; null counts as absent. Migrations, which log in as the owner of
the schema, get only their own secrets.
*/}}
{{- define "livebalance.configuration" -}}
{{- $own := index .root.Values .service | default dict -}}
{{- $secrets := ternary (dict) .root.Values.secrets (eq .service "migrations") -}}
{{- $configuration := dict "settings" (dict) "secrets" (dict) -}}
{{- range $scope := list
      (dict "name" "all services" "settings" .root.Values.settings "secrets" $secrets)
      (dict "name" (printf "`%s`" .service) "settings" $own.settings "secrets" $own.secrets) -}}
{{- range $kind, $other := dict "settings" "secrets" "secrets" "settings" -}}
{{- range $name, $value := get $scope $kind -}}
{{- if not (kindIs "invalid" $value) -}}
{{- if not (kindIs "invalid" (index (get $scope $other | default dict) $name)) -}}
{{- fail (printf "%s is set in both settings and secrets of %s: remove one of them" $name $scope.name) -}}
{{- end -}}
{{- $_ := set (get $configuration $kind) $name $value -}}
{{- $_ := unset (get $configuration $other) $name -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $configuration -}}
{{- end -}}

{{- define "livebalance.settings" -}}
{{- get (include "livebalance.configuration" . | fromJson) "settings" | toJson -}}
{{- end -}}

{{- define "livebalance.secrets" -}}
{{- get (include "livebalance.configuration" . | fromJson) "secrets" | toJson -}}
{{- end -}}

{{/* One setting, or its default: (dict … "setting" "LIVEBALANCE_DRAIN_PERIOD_SECONDS" "default" 5). */}}
{{- define "livebalance.setting" -}}
{{- $value := get (include "livebalance.settings" . | fromJson) .setting -}}
{{- if has $value (list nil "") -}}{{ .default }}{{- else -}}{{ include "livebalance.text" $value }}{{- end -}}
{{- end -}}

{{/* A value as text for an environment variable. Encoded as JSON, because Helm would write a million as 1e+06. */}}
{{- define "livebalance.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* Fails if a required setting is missing: (dict … "needs" (list "LIVEBALANCE_KAFKA" "LIVEBALANCE_JWKS|LIVEBALANCE_JWKS_URL")). */}}
{{- define "livebalance.need" -}}
{{- $present := merge (include "livebalance.settings" . | fromJson) (include "livebalance.secrets" . | fromJson) -}}
{{- $service := .service -}}
{{- range .needs -}}
{{- $satisfied := false -}}
{{- range splitList "|" . -}}{{- if hasKey $present . -}}{{- $satisfied = true -}}{{- end -}}{{- end -}}
{{- if not $satisfied -}}
{{- fail (printf "%s: set %s in settings or secrets, of `%s` or of all services" $service (replace "|" " or " .) $service) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "livebalance.environment" -}}
- name: LIVEBALANCE_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- if .groupInstance }}
- name: LIVEBALANCE_GROUP_INSTANCE_ID
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}
{{- if .serves }}
- {name: LIVEBALANCE_HTTP_HOST, value: {{ .root.Values.listen | quote }}}
- {name: LIVEBALANCE_HTTP_PORT, value: "8000"}
{{- if eq .service "gateway" }}
- {name: LIVEBALANCE_OPERATIONS_PORT, value: "8001"}
{{- end }}
{{- end }}
{{- if .accounts }}
- {name: LIVEBALANCE_ACCOUNTS_DIRECTORY, value: /var/lib/livebalance/accounts}
{{- end }}
{{- if include "livebalance.secrets" . | fromJson }}
- {name: LIVEBALANCE_SECRETS_DIRECTORY, value: /etc/livebalance/secrets}
{{- end }}
{{- range $name, $value := include "livebalance.settings" . | fromJson }}
- name: {{ $name }}
  value: {{ include "livebalance.text" $value | quote }}
{{- end }}
{{- end -}}
