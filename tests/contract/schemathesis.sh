#!/usr/bin/env bash
# schemathesis.sh BINARY [ARGUMENTS]: installs schemathesis of the locked versions into a cache of its own, once, and holds BINARY to its document.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
packages=${LUCID_CONTRACT_CACHE:-$here/../../target/contract}/$(sha256sum "$here/requirements.txt" | cut -c1-16)
if [ ! -d "$packages" ]; then
  mkdir -p "$(dirname "$packages")"
  rm -rf "$packages.tmp"
  python3 -m pip install -q --disable-pip-version-check --target "$packages.tmp" -r "$here/requirements.txt"
  mv "$packages.tmp" "$packages"
fi
export PYTHONPATH=$packages PYTHONDONTWRITEBYTECODE=1
exec python3 "$here/run.py" --schemathesis "$packages/bin/schemathesis" "$@"
