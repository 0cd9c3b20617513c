#!/usr/bin/env bash
# Have Prometheus and promtool for the tests of boards and alerts, in .tools: Debian's package, unpacked and not installed,
# so that no service starts.
set -euo pipefail
cd "$(dirname "$0")/.."
if command -v promtool >/dev/null 2>&1 || [ -x .tools/usr/bin/promtool ]; then exit 0; fi
if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
  echo "no Prometheus found: its tests will be skipped. Put prometheus and promtool on PATH to run them." >&2
  exit 0
fi
echo "fetching Debian's prometheus for the tests of boards and alerts"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
[ "$(id -u)" != 0 ] || apt-get update -qq
(cd "$folder" && apt-get download -qq prometheus >/dev/null)
dpkg-deb --extract "$folder"/prometheus_*.deb "$folder/unpacked"
mkdir -p .tools/usr/bin
cp "$folder"/unpacked/usr/bin/prom* .tools/usr/bin/
