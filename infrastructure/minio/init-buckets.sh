#!/bin/sh
# Buckets, versioning, policies and accounts of the object store. Safe to repeat: what is there stays, what is missing is
# made, passwords follow .env. Needs mc, and MINIO_ENDPOINT, MINIO_ROOT_USER, MINIO_ROOT_PASSWORD.
#   producer  may put files into raw/<dataset>/incoming/ and see what waits there
#   platform  may read and write the objects of the three buckets, and change nothing of the buckets themselves
set -eu
here=$(dirname "$0")

mc alias set platform "$MINIO_ENDPOINT" "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" >/dev/null

for bucket in raw staging curated; do
  mc mb --ignore-existing "platform/$bucket"
  mc version enable "platform/$bucket"
  # A move is a copy and a delete, so versioning alone would keep every file twice for ever.
  mc ilm rule import "platform/$bucket" <"$here/lifecycle.json"
done

account() { # USER PASSWORD POLICY
  printf '%s\n%s\n' "$1" "$2" | mc admin user add platform >/dev/null
  mc admin policy create platform "$3" "$here/policies/$3.json" >/dev/null
  said=$(mc admin policy attach platform "$3" --user "$1" 2>&1) || case $said in
    *"already in effect"*) ;;
    *) echo "$said" >&2; exit 1 ;;
  esac
  echo "account $1 has the policy $3"
}

if mc admin info platform >/dev/null 2>&1; then
  account "$MINIO_PRODUCER_USER" "$MINIO_PRODUCER_PASSWORD" producer
  if [ -n "${MINIO_PLATFORM_USER:-}" ]; then
    account "$MINIO_PLATFORM_USER" "$MINIO_PLATFORM_PASSWORD" platform
  fi
elif [ -n "${MINIO_PLATFORM_USER:-}" ]; then
  echo "this server has no accounts but the root pair: leave MINIO_PLATFORM_USER in .env blank" >&2
  exit 1
else
  echo "this server has no accounts but the root pair: no account for producers" >&2
fi
