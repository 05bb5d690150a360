{{/* The environment of a container, each variable once. What is more specific wins: variables of the chart, `settings`,
the component's `settings`, `extraEnv`, the component's `extraEnv`. */}}
{{- define "cake.environment" -}}
{{- $values := .root.Values -}}
{{- $store := dict "name" $values.store.secretName "key" $values.store.secretKey -}}
{{- $variables := dict
    "CAKE_STORE_URL" (dict "valueFrom" (dict "secretKeyRef" $store))
    "CAKE_BLOB_URL" (dict "value" $values.bucket.url)
    "AWS_REGION" (dict "value" $values.bucket.region) -}}
{{- with $values.authorities -}}
{{- if .configMapName -}}
{{- $_ := set $variables "CAKE_SOURCE_CA" (dict "value" (printf "/etc/cake/authorities/%s" .key)) -}}
{{- end -}}
{{- end -}}
{{- range $name, $variable := .variables -}}{{- $_ := set $variables $name $variable -}}{{- end -}}
{{- $fixed := list "CAKE_DATA_DIR" "CAKE_HOST" "CAKE_PORT" "CAKE_WORKER_ADDRESS" "CAKE_WORKER_HOST" "CAKE_WORKER_PORT"
    "CAKE_WORKER_PUSH_PORT" "CAKE_WORKERS" -}}
{{- range $name, $value := mergeOverwrite (dict) $values.settings .values.settings -}}
{{- if has $name $fixed -}}
{{- fail (printf "settings.%s: probes, ports and policies of this chart depend on this variable. Remove it." $name) -}}
{{- end -}}
{{- $_ := set $variables $name (dict "value" (include "cake.text" $value)) -}}
{{- end -}}
{{- $extra := list -}}
{{- $own := list -}}
{{- range .values.extraEnv -}}{{- $own = append $own .name -}}{{- end -}}
{{- range $values.extraEnv -}}{{- if not (has .name $own) -}}{{- $extra = append $extra . -}}{{- end -}}{{- end -}}
{{- $extra = concat $extra .values.extraEnv -}}
{{- range $extra -}}{{- $_ := unset $variables .name -}}{{- end -}}
{{- range $name, $variable := $variables }}
- {{ merge (dict "name" $name) $variable | toJson }}
{{- end }}
{{- range $extra }}
- {{ toJson . }}
{{- end }}
{{- end -}}

{{/* Helm reads whole numbers as floats and prints large ones as 2.147483648e+10; JSON prints their digits. */}}
{{- define "cake.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* A setting of a component as a number: (list $ COMPONENT NAME DEFAULT), with the default of the program. */}}
{{- define "cake.number" -}}
{{- $values := (index . 0).Values -}}
{{- $settings := mergeOverwrite (dict) $values.settings (get $values (index . 1)).settings -}}
{{- include "cake.text" (get $settings (index . 2) | default (index . 3)) -}}
{{- end -}}

{{/* The size of /data, in bytes unless data.sizeLimit is set: the kubelet evicts a pod that exceeds it. A server holds uploads on
their way to the bucket, at most the quota of the keys that upload at a time; a worker holds the video of each session. */}}
{{- define "cake.dataSize" -}}
{{- if .values.data.sizeLimit -}}
{{ .values.data.sizeLimit }}
{{- else -}}
{{- $upload := include "cake.number" (list .root "api" "CAKE_MAX_UPLOAD_BYTES" 2147483648) | int64 -}}
{{- $quota := include "cake.number" (list .root "api" "CAKE_KEY_MAX_STORED_BYTES" 21474836480) | int64 -}}
{{- $sessions := include "cake.number" (list .root "worker" "CAKE_WORKER_MAX_SESSIONS" 16) | int64 -}}
{{- $most := eq .component "worker" | ternary (mul $upload $sessions) (max $upload $quota) -}}
{{ add $most (mul 1 1024 1024 1024) | quote }}
{{- end -}}
{{- end -}}
