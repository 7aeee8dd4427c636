# Sourced by the other scripts: creates .venv if needed, installs requirements.txt into it, and puts
# it first on PATH. Installs again only after requirements.txt or pyproject.toml has changed.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stamp=.venv/installed.stamp
wanted=$(cat requirements.txt pyproject.toml | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  python=${PYTHON:-python3}
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "gan needs Python 3.11 or newer; set PYTHON=/path/to/python3" >&2
    exit 1
  }
  # not only if it is missing: without ensurepip, or interrupted, venv leaves a half of one
  .venv/bin/python -m pip --version > /dev/null 2>&1 || "$python" -m venv .venv || {
    echo "cannot create .venv (on Debian and Ubuntu: apt-get install python3-venv)" >&2
    exit 1
  }
  echo "installing into .venv ..."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt || exit 1
  echo "$wanted" > "$stamp"
fi
export PATH="$PWD/.venv/bin:$PATH"
