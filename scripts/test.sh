#!/usr/bin/env bash
# Installs into .venv if needed, then runs the linter, the type checker and the tests.
# Arguments are passed to pytest.
set -euo pipefail
source "$(dirname "$0")/install.sh"
ruff check .
ruff format --check --quiet .
mypy gan
python -m pytest --numprocesses 2 --dist worksteal "$@"
