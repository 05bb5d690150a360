{{/* Every name starts with it. */}}
{{- define "cake.fullname" -}}
{{ .Values.fullnameOverride | default .Release.Name | trunc 54 | trimSuffix "-" }}
{{- end -}}

{{/* Labels that select the pods of a component. They cannot change after the installation. */}}
{{- define "cake.selector" -}}
app.kubernetes.io/name: {{ .root.Values.nameOverride | default .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "cake.metadata" -}}
name: {{ include "cake.fullname" .root }}-{{ .component }}
labels: {{- include "cake.labels" . | nindent 2 }}
{{- end -}}

{{- define "cake.labels" -}}
{{ include "cake.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cake.serviceAccountName" -}}
{{- with .Values.serviceAccount -}}
{{ .name | default (.create | ternary (printf "%s-cake" (include "cake.fullname" $)) "default") }}
{{- end -}}
{{- end -}}

{{/* Labels and annotations of a component's pods. Its own values win over those of the whole release; not with "merge",
which takes false, 0 and "" for missing. */}}
{{- define "cake.podMetadata" -}}
{{- $labels := mergeOverwrite (dict) .root.Values.commonLabels .root.Values.podLabels .values.podLabels -}}
labels:
  {{- include "cake.selector" . | nindent 2 }}
  {{- with $labels }}{{ toYaml . | nindent 2 }}{{ end }}
{{- with mergeOverwrite (dict) .root.Values.podAnnotations .values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "cake.pod" -}}
serviceAccountName: {{ include "cake.serviceAccountName" .root }}
automountServiceAccountToken: false
# Kubernetes would add a variable such as `CAKE_*_PORT` for every service, and those are names of our settings.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName | default .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with mergeOverwrite (dict) .root.Values.nodeSelector .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat .root.Values.tolerations .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity | default .root.Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
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
      matchLabels: {{- include "cake.selector" . | nindent 8 }}
volumes:
  - name: data
    {{- if .values.data.storageClassName }}
    ephemeral:
      volumeClaimTemplate:
        spec:
          accessModes: [ReadWriteOnce]
          storageClassName: {{ .values.data.storageClassName }}
          resources: {requests: {storage: {{ include "cake.dataSize" . }}}}
    {{- else }}
    emptyDir: {sizeLimit: {{ include "cake.dataSize" . }}}
    {{- end }}
  - {name: tmp, emptyDir: {}}
  {{- with .root.Values.authorities.configMapName }}
  - {name: authorities, configMap: {name: {{ . }}}}
  {{- end }}
  {{- with concat .root.Values.extraVolumes .values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "cake.container" -}}
image: "{{ .image.repository }}{{ with .image.digest }}@{{ . }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}"
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml .values.resources | nindent 2 }}
volumeMounts:
  - {name: data, mountPath: /data}
  - {name: tmp, mountPath: /tmp}
  {{- if .root.Values.authorities.configMapName }}
  - {name: authorities, mountPath: /etc/cake/authorities, readOnly: true}
  {{- end }}
  {{- with concat .root.Values.extraVolumeMounts .values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $from := concat .root.Values.envFrom .values.envFrom }}
{{- with .root.Values.bucket.secretName }}
{{- $from = prepend $from (dict "secretRef" (dict "name" .)) }}
{{- end }}
{{- with $from }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
env: {{- include "cake.environment" . | nindent 2 }}
{{- end -}}
