#!/usr/bin/env bash
# Make the platform's and Superset's environments side by side.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh uv # both need it, so it is there before they start
scripts/install.sh platform & platform=$!
scripts/install.sh superset & superset=$!
trap 'kill "$platform" "$superset" 2>/dev/null || true' INT TERM
wait "$platform"
wait "$superset"
