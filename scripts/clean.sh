#!/usr/bin/env bash
# Stop the stack and remove what it keeps: containers and volumes, data, logs, environments. `.env` stays: it is yours.
#   scripts/clean.sh [--force]   (--force does not ask)
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" != --force ]; then
  read -r -p "Remove all data of the stack, local and in Docker's volumes, and the environments? [y/N] " answer
  [[ $answer == [yY]* ]] || { echo "nothing removed"; exit 1; }
fi
if [ -x .venv/bin/dp ]; then .venv/bin/dp destroy --yes; fi
rm -rf .venv .venv-superset .venv-bench .uv transformations/target transformations/logs
echo "removed the stack's data and environments"
