#!/usr/bin/env bash
# Passes the tests: makes .venv when missing, installs, runs the linter and pytest. Arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/install.sh"
ruff check .
python -m pytest "$@"
