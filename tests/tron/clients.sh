#!/usr/bin/env bash
# clients.sh NODE: installs tronpy and tronweb of the locked versions into a cache, once, and lets both use the fake node NODE.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${LUCID_TRON_CACHE:-$here/../../target/tron}
python=$cache/python-$(sha256sum "$here/requirements.txt" | cut -c1-16)
node=$cache/node-$(sha256sum "$here/package-lock.json" | cut -c1-16)
if [ ! -d "$python" ]; then
  mkdir -p "$cache"
  rm -rf "$python.tmp"
  python3 -m pip install -q --disable-pip-version-check --no-warn-conflicts --root-user-action=ignore --require-hashes --target "$python.tmp" -r "$here/requirements.txt"
  mv "$python.tmp" "$python"
fi
if [ ! -d "$node" ]; then
  rm -rf "$node.tmp"
  mkdir -p "$node.tmp"
  cp "$here/package.json" "$here/package-lock.json" "$node.tmp"
  npm --prefix "$node.tmp" ci --ignore-scripts --no-audit --no-fund --loglevel=error
  mv "$node.tmp" "$node"
fi
export PYTHONPATH=$python PYTHONDONTWRITEBYTECODE=1
exec python3 "$here/run.py" --node "$1" --tronweb "$node"
