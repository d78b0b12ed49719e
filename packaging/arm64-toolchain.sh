#!/usr/bin/env bash
# Prepares what a static ARM64 build needs in a cache folder, and prints the environment that uses it:
#
#   eval "$(packaging/arm64-toolchain.sh)"
#   cargo zigbuild --release --locked --target aarch64-unknown-linux-musl
#   $LUCID_QEMU target/aarch64-unknown-linux-musl/release/lucid-node-management --version
#
# zig (from PyPI) is C compiler, linker and musl. The target's standard library comes from rustup where rustup can add it,
# and is built once from Debian's rust-src of the same version elsewhere. qemu-user is Debian's. Nothing is installed
# into the system. Progress goes to standard error.
set -euo pipefail
exec 3>&1 1>&2

TARGET=aarch64-unknown-linux-musl
ZIG=0.17.0
ZIGBUILD=0.24.0
CACHE=${LUCID_ARM64_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lucid-arm64}
RUST_VERSION=$(rustc -vV | sed -n 's/^release: //p')
SYSROOT=$(rustc --print sysroot)
mkdir -p "$CACHE/debs"

say() { echo "arm64: $*"; }
have_deb() { compgen -G "$CACHE/debs/$1_*.deb" >/dev/null; }

# A private apt state, so that other releases of Debian can be asked without touching the system's lists.
apt_private() {
  local root=$CACHE/apt mirror key suite
  mkdir -p "$root/lists/partial" "$root/cache/archives/partial"
  : >"$root/status"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -E '/debian/?$' | head -n 1)
  mirror=${mirror%/}
  [ -n "$mirror" ] || { say "no Debian mirror is configured; install the target with rustup, and qemu-user-static"; exit 2; }
  key='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
  for suite in bookworm trixie trixie-backports forky sid; do echo "deb $key $mirror $suite main"; done >"$root/sources.list"
  cat >"$root/apt.conf" <<CONF
Dir::Etc::sourcelist "$root/sources.list"; Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$root/lists"; Dir::State::status "$root/status"; Dir::Cache "$root/cache";
APT::Architecture "amd64"; APT::Architectures { "amd64"; }; APT::Sandbox::User "root";
Acquire::Languages "none"; Acquire::Retries "3"; Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
CONF
  export APT_CONFIG=$root/apt.conf
  [ -n "${APT_READY:-}" ] || { say "asking Debian for package lists"; apt-get update -q || apt-get update -q; APT_READY=1; }
}

zig() {
  [ -x "$CACHE/py-$ZIG-$ZIGBUILD/bin/cargo-zigbuild" ] && return
  say "fetching zig $ZIG"
  rm -rf "$CACHE/py.tmp"
  python3 -m pip install -q --target "$CACHE/py.tmp" "ziglang==$ZIG" "cargo-zigbuild==$ZIGBUILD"
  mv "$CACHE/py.tmp" "$CACHE/py-$ZIG-$ZIGBUILD"
}

qemu() {
  [ "$(uname -m)" != aarch64 ] || return 0
  [ ! -x "$CACHE/qemu-aarch64-static" ] || return 0
  local found
  if found=$(command -v qemu-aarch64-static || command -v qemu-aarch64); then
    ln -sfn "$found" "$CACHE/qemu-aarch64-static"
    return
  fi
  have_deb qemu-user-static || { apt_private; (cd "$CACHE/debs" && apt-get download -q qemu-user-static/bookworm); }
  dpkg --fsys-tarfile "$CACHE"/debs/qemu-user-static_*.deb | tar -xO ./usr/bin/qemu-aarch64-static >"$CACHE/qemu.tmp"
  chmod +x "$CACHE/qemu.tmp"
  mv "$CACHE/qemu.tmp" "$CACHE/qemu-aarch64-static"
}

# Sets STD to "rustup" or to the folder of a sysroot of our own.
standard_library() {
  if [ -d "$SYSROOT/lib/rustlib/$TARGET/lib" ] || timeout 300 rustup target add "$TARGET" 2>/dev/null; then
    STD=rustup
    return
  fi
  STD=$CACHE/sysroot-$RUST_VERSION
  local lib=$STD/lib/rustlib/$TARGET/lib source=$CACHE/rust-src-$RUST_VERSION build=$CACHE/mkstd version host
  [ -d "$lib" ] && return
  if [ ! -d "$source" ]; then
    apt_private
    version=$(apt-cache madison rust-src | awk -F'|' -v v="$RUST_VERSION" '{gsub(/ /, "", $2); if (index($2, v "+") == 1) print $2}' | head -n 1)
    [ -n "$version" ] || { say "rustup cannot add $TARGET and Debian has no rust-src $RUST_VERSION"; exit 3; }
    (cd "$CACHE/debs" && apt-get download -q "rust-src=$version")
    rm -rf "$source.tmp"
    dpkg -x "$CACHE"/debs/rust-src_"${version//:/%3a}"*.deb "$source.tmp"
    mv "$source.tmp" "$source"
  fi
  say "building the standard library of $TARGET, once"
  mkdir -p "$build/src"
  printf '[package]\nname = "mkstd"\nversion = "0.0.0"\nedition = "2021"\n[lib]\n[workspace]\n' >"$build/Cargo.toml"
  : >"$build/src/lib.rs"
  # panic_abort must be compiled with panic=abort, which the profile of Rust's own workspace does.
  printf '#!/bin/sh\ncase " $* " in *" --crate-name panic_abort "*) exec "$@" -Cpanic=abort ;; *) exec "$@" ;; esac\n' >"$build/wrap"
  chmod +x "$build/wrap"
  (
    cd "$build"
    unset CARGO_TARGET_DIR RUSTFLAGS
    RUSTC_WRAPPER=$build/wrap RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes \
      __CARGO_TESTS_ONLY_SRC_ROOT=$source/usr/src/rustc-$RUST_VERSION/library \
      cargo build -q --release --target $TARGET -Zbuild-std=std,panic_unwind,panic_abort,proc_macro,test --target-dir "$build/target"
  )
  rm -rf "$lib.tmp"
  mkdir -p "$lib.tmp"
  find "$build/target/$TARGET/release/deps" -name '*.rlib' ! -name 'libmkstd-*' -exec cp {} "$lib.tmp/" \;
  host=$(rustc -vV | sed -n 's/^host: //p')
  ln -sfn "$SYSROOT/lib/rustlib/$host" "$STD/lib/rustlib/$host"
  mv "$lib.tmp" "$lib"
  rm -rf "$build/target"
}

zig
qemu
standard_library

{
  echo "export PATH='$CACHE/py-$ZIG-$ZIGBUILD/bin':\"\$PATH\""
  echo "export CARGO_ZIGBUILD_ZIG_PATH='$CACHE/py-$ZIG-$ZIGBUILD/ziglang/zig'"
  # zig brings musl's start files; Rust's own copies would clash.
  if [ "$STD" = rustup ]; then
    echo "export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS='-C link-self-contained=no'"
  else
    echo "export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS='--sysroot $STD -C link-self-contained=no'"
  fi
  # A global RUSTFLAGS would replace the line above.
  echo "unset RUSTFLAGS"
  if [ "$(uname -m)" = aarch64 ]; then echo "export LUCID_QEMU="; else echo "export LUCID_QEMU='$CACHE/qemu-aarch64-static'"; fi
} >&3
