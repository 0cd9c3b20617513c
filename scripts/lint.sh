#!/usr/bin/env bash
# Check the style of everything that is written by hand: Python, YAML, SQL, shell, Dockerfiles, the Compose file.
# Changes nothing. A tool that is not there is announced, and the rest goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
status=0
check() { # NAME COMMAND…
  local name=$1; shift
  if ! command -v "$1" >/dev/null; then
    echo "SKIPPED: $name ($(basename "$1") is not here; 'make install-dev' installs it where there is a wheel)" >&2
    return
  fi
  "$@" || { echo "FAILED: $name" >&2; status=1; }
}
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
mapfile -t dockerfiles < <(git ls-files '*Dockerfile')

check "Python" "$bin/ruff" check .
check "Python's format" "$bin/ruff" format --check .
check "YAML" "$bin/yamllint" --strict .
check "models' SQL" "$bin/sqlfluff" lint --nocolor -q transformations
check "shell scripts" "$bin/shellcheck" "${scripts[@]}"
check "Dockerfiles" "$bin/hadolint" "${dockerfiles[@]}"

if docker compose version >/dev/null 2>&1; then
  # The secrets that have no default get a value for this alone.
  compose() {
    AIRFLOW_FERNET_KEY=x AIRFLOW_JWT_SECRET=x METADATA_API_KEY=x SUPERSET_SECRET_KEY=x \
      docker compose --env-file .env.example "$@"
  }
  check "Compose file" compose config --quiet
  while read -r profile; do check "Compose profile $profile" compose --profile "$profile" config --quiet
  done < <(compose config --profiles)
else
  echo "SKIPPED: Compose file (docker compose is not here)" >&2
fi
exit $status
