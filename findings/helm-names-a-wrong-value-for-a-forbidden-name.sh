#!/usr/bin/env bash
# Helm names a random wrong place when the name of a value breaks `propertyNames` of values.schema.json.
#
# The mistake is in `settings`. Helm reports it at '/settings' or at another value, '/labels' or '/annotations', and two runs
# on the same input differ. The message is right for `additionalProperties: false` with `patternProperties`: write a rule for
# names that way in a chart's schema.
# Seen with Helm 4.3.1 on x86-64, 2026-11-29.
#
# Exit status 0: as described; 1: the behaviour changed; 2: this machine has no Helm.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
helm=$(command -v helm || echo "$repository/.venv/bin/helm")
[ -x "$helm" ] || { echo "Helm is needed; make helm fetches it." >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

mkdir "$folder/templates"
printf 'apiVersion: v2\nname: chart\nversion: 0.1.0\n' > "$folder/Chart.yaml"
printf 'settings: {}\nlabels: {}\nannotations: {}\n' > "$folder/values.yaml"

# places RULE: where Helm reports `--set settings.lower=1` in 40 runs under this rule for names.
places() {
  cat > "$folder/values.schema.json" <<SCHEMA
{"properties": {"settings": {"type": "object", $1}, "labels": {"type": "object"}, "annotations": {"type": "object"}}}
SCHEMA
  for _ in $(seq 40); do
    "$helm" template release "$folder" --set settings.lower=1 2>&1 | grep -o "^- at '[^']*'" || true
  done | sort | uniq -c
}

with_names=$(places '"propertyNames": {"pattern": "^[A-Z]+$"}')
with_patterns=$(places '"patternProperties": {"^[A-Z]+$": {}}, "additionalProperties": false')
printf 'propertyNames:\n%s\npatternProperties and additionalProperties:\n%s\n' "$with_names" "$with_patterns"
[ "$(wc -l <<< "$with_names")" -gt 1 ] && [ "$(tr -s ' ' <<< "$with_patterns")" = " 40 - at '/settings'" ] ||
  { echo "the behaviour has changed" >&2; exit 1; }
echo "as described"
