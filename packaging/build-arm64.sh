#!/usr/bin/env bash
# The static ARM64 binary. LUCID_PROFILE chooses the profile (release). The last line of the output is the path of the binary.
set -euo pipefail
cd "$(dirname "$0")/.."
TARGET=aarch64-unknown-linux-musl
PROFILE=${LUCID_PROFILE:-release}
eval "$(packaging/arm64-toolchain.sh)"
LUCID_COMMIT=$(git rev-parse HEAD 2>/dev/null || true)
export LUCID_COMMIT
cargo zigbuild --profile "$PROFILE" --locked --target $TARGET
binary=$(realpath "${CARGO_TARGET_DIR:-target}")/$TARGET/$PROFILE/lucid-node-management
# e_machine of the ELF header: 183 is AArch64. A program interpreter would mean that it is not static.
python3 - "$binary" <<'PY'
import struct, sys
head = open(sys.argv[1], "rb").read()
assert head[:4] == b"\x7fELF" and struct.unpack_from("<H", head, 18)[0] == 183, "not an AArch64 binary"
offset, = struct.unpack_from("<Q", head, 32)
size, count = struct.unpack_from("<HH", head, 54)
kinds = [struct.unpack_from("<I", head, offset + i * size)[0] for i in range(count)]
assert 3 not in kinds, "not static: it names a program interpreter"
print(f"static AArch64, {len(head) / 1e6:.1f} MB")
PY
echo "$binary"
