#!/usr/bin/env bash
# Sets everything up, then checks style and types and runs the tests: scripts/test.sh [PYTEST ARGUMENTS].
# The slow suite: scripts/test.sh -m slow
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment test
cd "$ROOT"
"$VENV/bin/python" -m ruff check .
"$VENV/bin/python" -m ruff format --check .
"$VENV/bin/python" -m mypy
# Two processes, each with whole files in their order: tests that start processes share what a file has prepared, and
# files of few long tests are not left to the end, where one process would wait for the other.
exec "$VENV/bin/python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
