#!/usr/bin/env bash
# Licences, banned crates and sources by cargo-deny; known vulnerabilities too where the advisory database can be fetched.
set -euo pipefail
if ! cargo deny --version >/dev/null 2>&1; then
  if [ -n "${CI:-}" ]; then
    echo "installing cargo-deny"
    # Outside any workspace and any shared target folder, so that no cache of ours is touched.
    (cd / && env -u CARGO_TARGET_DIR cargo install --quiet --locked cargo-deny)
  else
    echo "cargo-deny is not installed: skipped (cargo install --locked cargo-deny)"
    exit 0
  fi
fi
cargo deny --log-level error check bans licenses sources
fetched=$(mktemp)
trap 'rm -f "$fetched"' EXIT
if timeout 120 cargo deny fetch db >"$fetched" 2>&1; then
  cargo deny --log-level error check --disable-fetch advisories
else
  echo "the advisory database cannot be fetched here: advisories skipped"
fi
