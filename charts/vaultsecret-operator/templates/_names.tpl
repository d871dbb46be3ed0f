{{- define "vso.name" -}}
{{- default .Chart.Name .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "vso.account" -}}
{{- default (ternary (include "vso.name" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end }}

{{- define "vso.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "vso.account" . }}
{{- end }}

{{- define "vso.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "vso.labels" -}}
{{ include "vso.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "vso.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end }}

{{- define "vso.port" -}}
{{ regexFind "[0-9]+$" .Values.operator.listen }}
{{- end }}

{{/* Names of admission policies are the cluster's, and operators for lists of namespaces may be several. */}}
{{- define "vso.policy" -}}
{{ include "vso.name" . }}.{{ .Release.Namespace }}
{{- end }}
