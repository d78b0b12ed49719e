#!/usr/bin/env bash
# need.sh PROGRAM [PACKAGE]: installs Debian's PACKAGE when PROGRAM is missing.
set -euo pipefail
program=$1 package=${2:-$1}
command -v "$program" >/dev/null && exit 0
command -v apt-get >/dev/null || { echo "$program is missing; install it and try again" >&2; exit 1; }
echo "installing $package"
root=()
if [ "$(id -u)" != 0 ]; then root=(sudo); fi
export DEBIAN_FRONTEND=noninteractive
"${root[@]}" apt-get install -qq -y --no-install-recommends "$package" >/dev/null 2>&1 || {
  "${root[@]}" apt-get update -qq
  "${root[@]}" apt-get install -qq -y --no-install-recommends "$package" >/dev/null
}
