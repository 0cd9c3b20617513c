#!/usr/bin/env bash
# Tell what the environments of this checkout are.
set -euo pipefail
cd "$(dirname "$0")/.."
for venv in .venv .venv-superset .venv-bench; do
  if [ ! -x "$venv/bin/python" ]; then echo "$venv: not installed"; continue; fi
  packages=$(find "$venv"/lib/python*/site-packages -maxdepth 1 -name '*.dist-info' | wc -l)
  size=$(du -sh "$venv" | cut -f1)
  state="half installed: 'make install' mends it"
  if [ -e "$venv/.installed" ]; then state="installed as $(cut -d' ' -f1 "$venv/.installed")"; fi
  echo "$venv: $("$venv/bin/python" --version), $packages packages, $size, $state"
done
echo "activate one with: source .venv/bin/activate"
