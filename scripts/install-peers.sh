#!/usr/bin/env bash
# Build what the platform is tested against besides its own stack, into .peers/bin: the real MinIO, from source.
# It ships no binaries any more; its Go module is built by the ordinary Go client (Go 1.24 or newer, two minutes).
set -euo pipefail
cd "$(dirname "$0")/.."
MINIO=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

target=$PWD/.peers/bin
if [ "$(cat .peers/minio.version 2>/dev/null)" = "$MINIO" ] && [ -x "$target/minio" ]; then exit 0; fi
command -v go >/dev/null || { echo "Go is not installed: install Go 1.24 or newer, or put a minio on PATH" >&2; exit 1; }
echo "building $MINIO into .peers/bin (two minutes, once) …" >&2
mkdir -p "$target"
CGO_ENABLED=0 GOBIN="$target" go install -trimpath "$MINIO"
echo "$MINIO" >.peers/minio.version
