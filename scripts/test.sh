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
run_tests() { "$VENV/bin/python" -m pytest -n 2 "$@"; }
# Each process takes whole files in their order: tests that start processes share what a file has prepared, and files of
# few long tests are not left to the end, where one process would wait for the other.
by_files=(--dist loadfile --no-loadscope-reorder)
if [[ "$*" != "-m slow" ]]; then
  run_tests "${by_files[@]}" "$@"
  exit
fi
# XLA maps some hundred pieces of memory for each compiled set and keeps them; Linux allows a process 65 530, and one
# that ran the whole slow suite crashed. So it runs in three parts, and each begins with new processes.
laws=(tests/constraints/{laws_test.py,sets,penalties})
failed=0
trap "exit 130" INT
run_tests "$@" "${laws[@]}" || failed=$?
run_tests "$@" tests/constraints "${laws[@]/#/--ignore=}" || failed=$?
run_tests "$@" "${by_files[@]}" tests --ignore=tests/constraints || failed=$?
exit "$failed"
