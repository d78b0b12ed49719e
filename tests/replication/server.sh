#!/usr/bin/env bash
# server.sh PORT: a server that speaks MongoDB's protocol on 127.0.0.1:PORT until its standard input ends, with its databases in memory.
# Installs NX-27017 of the locked version into a cache of its own, once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
packages=${LUCID_REPLICATION_CACHE:-$here/../../target/replication}/$(sha256sum "$here/requirements.txt" | cut -c1-16)
mkdir -p "$(dirname "$packages")"
# Tests start in processes of their own, at the same time.
exec 9>"$packages.lock"
flock 9
if [ ! -d "$packages" ]; then
  rm -rf "$packages.tmp"
  python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --target "$packages.tmp" -r "$here/requirements.txt"
  mv "$packages.tmp" "$packages"
fi
exec 9>&-
export PYTHONPATH=$packages PYTHONDONTWRITEBYTECODE=1
# One at a time, it would say, by a file that it keeps for all of them.
process=$(mktemp -u)
python3 "$here/server.py" --pid-file "$process" -p "$1" --data-dir memory --log-file /dev/null >/dev/null 2>&1 </dev/null &
server=$!
trap 'kill "$server" 2>/dev/null; rm -f "$process"' EXIT
# Who started this holds the other end, and lets go of it however it ends.
cat >/dev/null
