#!/usr/bin/env bash
# Sets everything up and trains: scripts/train.sh [FLAGS], for example scripts/train.sh --constraint=maxnorm --max_value=2
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment
exec "$VENV/bin/python" -m constrained_training.trainer.main "$@"
