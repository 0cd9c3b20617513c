#!/usr/bin/env bash
# Compile requirements/*.in into hashed, universal locks. A lock names no download address.
#   scripts/lock.sh            keep the versions that are locked where they still fit
#   scripts/lock.sh --upgrade  take the newest that fit
#   scripts/lock.sh --check    change nothing; fail if a lock is out of date
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .uv/bin/uv)
[ -x "$uv" ] || { echo "uv is needed: run 'make install' once, it puts one into .uv" >&2; exit 1; }

check=false upgrade=()
case "${1:-}" in
  --check) check=true ;;
  --upgrade) upgrade=(--upgrade) ;;
  "") ;;
  *) echo "unknown option '$1': --upgrade or --check" >&2; exit 2 ;;
esac

export UV_CUSTOM_COMPILE_COMMAND="make lock"
status=0
compile() { # IN OUT [OPTION…]
  local in=$1 out=$2; shift 2
  local target=$out
  if $check; then target=$(mktemp); cp "$out" "$target"; fi
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
    "${upgrade[@]}" "$@" "$in" -o "$target"
  if $check; then
    diff -u "$out" "$target" || { echo "$out is not what $in compiles to: run 'make lock'" >&2; status=1; }
    rm -f "$target"
  fi
}
compile requirements/uv.in requirements/uv.txt
compile requirements/platform.in requirements/platform.txt --override requirements/overrides.txt
compile requirements/dev.in requirements/dev.txt --override requirements/overrides.txt
compile requirements/bench.in requirements/bench.txt
compile infrastructure/superset/requirements.in infrastructure/superset/requirements.txt
# The images' slices of the platform's lock: its versions and hashes, and nothing else.
for image in airflow metadata; do
  compile "infrastructure/$image/requirements.in" "infrastructure/$image/requirements.txt" \
    --override requirements/overrides.txt --constraint requirements/platform.txt
done
exit $status
