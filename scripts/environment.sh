# Sourced by the other scripts: makes .venv beside setup.py and installs the project into it, once.
#
# Usage: prepare_environment [EXTRA]
# Nothing is installed again until setup.py changes. PYTHON names the interpreter to start from.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
# Of .venv afterwards, and free before: wheels lie beside what is unpacked from them for a while.
INSTALLED="2.9 GB"
NEEDED_MB=4500

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

# Megabytes that are free where .venv will be; nothing where df cannot tell.
free_mb() {
  df -Pk "$ROOT" 2>/dev/null | awk 'NR == 2 && $4 ~ /^[0-9]+$/ { print int($4 / 1024) }'
}

# What pip does, in a line that moves on a terminal and in plain lines elsewhere.
show_progress() {
  local line seen=0 moving=
  [ -t 2 ] && moving=1
  while IFS= read -r line; do
    case $line in
    *Downloading\ * | Building\ * | Installing\ * | Successfully\ installed*) ;;
    *) continue ;;
    esac
    seen=$((seen + 1))
    line="${line#"${line%%[![:space:]]*}"}"
    [ "${line#Successfully installed}" = "$line" ] || line="installed $(($(wc -w <<<"$line") - 2)) packages"
    line="  $seen: ${line:0:70}"
    if [ -n "$moving" ]; then printf '\r\033[K%s' "$line" >&2; else echo "$line" >&2; fi
  done
  if [ -n "$moving" ] && [ "$seen" -gt 0 ]; then echo >&2; fi
}

prepare_environment() {
  local extra=${1:-} python stamp wanted free
  stamp="$VENV/installed${extra:+-$extra}"
  wanted=$(cksum <"$ROOT/setup.py")
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  if ! "$VENV/bin/python" -c '' 2>/dev/null; then
    python=$(find_python) || fail "no Python 3.11, 3.12 or 3.13 found; install one, or set PYTHON to its path."
    free=$(free_mb)
    if [ -n "$free" ] && [ "$free" -lt "$NEEDED_MB" ]; then
      fail "$ROOT has $free MB free and the installation needs $NEEDED_MB MB; make room, or clone onto a larger disk."
    fi
    rm -rf "$VENV"
    "$python" -m venv "$VENV" || fail "$python cannot make a virtual environment; install its venv package (python3-venv)."
  fi
  echo "installing TensorFlow and the rest into .venv: once, two to ten minutes, $INSTALLED of disk" >&2
  # Unbuffered, so that each line is shown when it is written.
  PYTHONUNBUFFERED=1 "$VENV/bin/python" -m pip install --disable-pip-version-check --progress-bar off \
    --editable "$ROOT${extra:+[$extra]}" | show_progress ||
    fail "the installation failed; pip's own message is above. Without a network, set PIP_PROXY or PIP_INDEX_URL (or" \
      "PIP_FIND_LINKS to a folder of wheels); on a full disk, make room. The same command goes on where it stopped."
  echo "$wanted" >"$stamp"
}
