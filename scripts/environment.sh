# Sourced by the other scripts: makes .venv beside setup.py and installs the project into it, once.
#
# Usage: prepare_environment [EXTRA]
# Nothing is installed again until setup.py changes. PYTHON names the interpreter to start from.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv

fail() {
  echo "error: $*" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

prepare_environment() {
  local extra=${1:-} python stamp wanted
  stamp="$VENV/installed${extra:+-$extra}"
  wanted=$(cksum <"$ROOT/setup.py")
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  if ! "$VENV/bin/python" -c '' 2>/dev/null; then
    python=$(find_python) || fail "no Python 3.11, 3.12 or 3.13 found; install one, or set PYTHON to its path."
    rm -rf "$VENV"
    "$python" -m venv "$VENV" || fail "$python cannot make a virtual environment; install its venv package (python3-venv)."
  fi
  echo "installing into .venv (once, a few minutes) ..." >&2
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$ROOT${extra:+[$extra]}" >&2 ||
    fail "the installation failed; its messages are above. Run the same command to try again."
  echo "$wanted" >"$stamp"
}
