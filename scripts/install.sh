#!/usr/bin/env bash
# Make or refresh one environment from its hashed lock, and say nothing when it is already right.
#   scripts/install.sh platform | dev | superset | bench | uv
# `dev` is the platform's environment plus the test and lint tools; once there, `platform` leaves it as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:?usage: scripts/install.sh platform|dev|superset|bench|uv}

# The lock serves Python 3.11 to 3.13; Superset's pandas has wheels for 3.11 and 3.12 only.
case "$kind" in
  platform) venv=.venv          lock=requirements/platform.txt             python='>=3.11,<3.14' ;;
  dev)      venv=.venv          lock=requirements/dev.txt                  python='>=3.11,<3.14' ;;
  superset) venv=.venv-superset lock=infrastructure/superset/requirements.txt python='>=3.11,<3.13' ;;
  bench)    venv=.venv-bench    lock=requirements/bench.txt             python='>=3.11,<3.14' ;;
  uv)       venv='' ;;
  *) echo "unknown environment '$kind': platform, dev, superset, bench or uv" >&2; exit 2 ;;
esac

find_uv() {
  if command -v uv >/dev/null 2>&1; then command -v uv; return; fi
  if [ ! -x .uv/bin/uv ]; then
    echo "uv is not installed: putting it into .uv" >&2
    rm -rf .uv
    python3 -m venv .uv || { echo "python3 can't make environments: install Debian's python3-venv, or uv" >&2; exit 1; }
    .uv/bin/pip install --quiet --require-hashes -r requirements/uv.txt >&2
  fi
  echo .uv/bin/uv
}

if [ "$kind" = uv ]; then find_uv >/dev/null; exit 0; fi

packages=(./pipelines ./data-quality ./metadata ./sdk ./cli)
digest() { cat "$1" scripts/install.sh ./*/pyproject.toml | sha256sum | cut -c1-16; }
stamp=$venv/.installed
want="$kind $(digest "$lock")"
have=$(cat "$stamp" 2>/dev/null || true)
# Whoever has the test tools keeps them: a stale `dev` is made anew as `dev`.
if [ "$kind" = platform ] && [ "${have%% *}" = dev ]; then
  lock=requirements/dev.txt
  want="dev $(digest "$lock")"
fi
if [ "$have" = "$want" ]; then exit 0; fi

uv=$(find_uv)
# PYTHONDONTWRITEBYTECODE would make every later start compile everything again (docs/architecture.md).
unset PYTHONDONTWRITEBYTECODE VIRTUAL_ENV
export UV_LINK_MODE=${UV_LINK_MODE:-hardlink}
rm -f "$stamp"
started=$SECONDS
echo "installing $(grep -c '^[a-z0-9]' "$lock") packages into $venv (a minute or so, once) …" >&2
[ -x "$venv/bin/python" ] || "$uv" venv --quiet --clear --python "$python" "$venv"
"$uv" pip sync --quiet --python "$venv" --require-hashes --compile-bytecode "$lock"
if [ "$venv" = .venv ]; then
  editable=(); for package in "${packages[@]}"; do editable+=(-e "$package"); done
  "$uv" pip install --quiet --python "$venv" --no-deps --no-build-isolation "${editable[@]}"
fi
echo "$want" >"$stamp"
echo "installed $venv in $((SECONDS - started)) s" >&2
