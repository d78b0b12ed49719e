#!/usr/bin/env bash
# Builds the static ARM64 binary and runs it, manager and agent, under qemu-user (or as it is on ARM64).
set -euo pipefail
cd "$(dirname "$0")/.."
eval "$(packaging/arm64-toolchain.sh)"
binary=${LUCID_ARM64_BIN:-$(LUCID_PROFILE=${LUCID_PROFILE:-quick} packaging/build-arm64.sh | tail -n 1)}
exec packaging/smoke.py --runner "${LUCID_QEMU:-}" "$binary"
