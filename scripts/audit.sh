#!/usr/bin/env bash
# Checks the installed packages for known vulnerabilities and fails if there is one. Without a
# network it only reports that the check was skipped. CI runs it after the tests.
set -euo pipefail
source "$(dirname "$0")/install.sh"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

packages=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
python -m venv "$place/venv"
audit=$place/venv/bin/python
"$audit" -m pip install --quiet --disable-pip-version-check pip-audit 2> "$place/errors" &&
  timeout 300 "$audit" -m pip_audit --path "$packages" --progress-spinner off --timeout 15 \
    --format json --output "$place/report.json" 2>> "$place/errors" || true
if [ ! -s "$place/report.json" ]; then
  echo "audit: skipped ($(tail -n 1 "$place/errors" | cut -c 1-200))"
  exit 0
fi
python scripts/read_audit.py "$place/report.json"
