{{- define "cake.labels" -}}
app.kubernetes.io/name: cake
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "cake.metadata" -}}
name: {{ .root.Release.Name }}-{{ .component }}
labels:
  {{- include "cake.labels" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{/* What both kinds of pods have in common. */}}
{{- define "cake.pod" -}}
serviceAccountName: {{ .root.Release.Name }}-cake
automountServiceAccountToken: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "cake.labels" . | nindent 8 }}
volumes:
  - {name: data, emptyDir: {sizeLimit: {{ .values.data.sizeLimit }}}}
  - {name: tmp, emptyDir: {}}
{{- end -}}

{{- define "cake.container" -}}
image: "{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}"
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml .values.resources | nindent 2 }}
volumeMounts:
  - {name: data, mountPath: /data}
  - {name: tmp, mountPath: /tmp}
{{- with .root.Values.bucket.secretName }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
env:
  - name: CAKE_STORE_URL
    valueFrom: {secretKeyRef: {name: {{ .root.Values.store.secretName }}, key: {{ .root.Values.store.secretKey }}}}
  - {name: CAKE_BLOB_URL, value: {{ .root.Values.bucket.url | quote }}}
  - {name: AWS_REGION, value: {{ .root.Values.bucket.region | quote }}}
  {{- range $name, $value := merge (dict) .values.settings .root.Values.settings }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
{{- end -}}
