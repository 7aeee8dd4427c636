#!/usr/bin/env bash
# Passes the tests: makes .venv when missing, installs, runs linter, type checker and pytest.
# Arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/install.sh"
ruff check .
ruff format --check --quiet .
mypy gan
python -m pytest --numprocesses 2 --dist worksteal "$@"
