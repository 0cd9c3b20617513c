#!/usr/bin/env bash
# Have a Chromium for the browser tests. Playwright's own download is not used: Debian's package serves.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo "installing Debian's chromium for the browser tests"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
  echo "no Chromium found: the browser tests will be skipped. Install the package chromium to run them." >&2
fi
