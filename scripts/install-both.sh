#!/usr/bin/env bash
# Make the platform's and Superset's environments side by side; what the second says is shown only if it fails.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh platform & platform=$!
scripts/install.sh superset & superset=$!
trap 'kill "$platform" "$superset" 2>/dev/null || true' INT TERM
wait "$platform"
wait "$superset"
