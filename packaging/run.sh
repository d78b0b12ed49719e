#!/usr/bin/env bash
# `make run`: builds, starts a manager on ./target/run-data, and an agent on this machine once it has an enrolment token.
set -euo pipefail
cd "$(dirname "$0")/.."

stop() { echo "make run: $*" >&2; exit 1; }
command -v cargo >/dev/null || stop "Rust is missing: install it from https://rustup.rs"
command -v cc >/dev/null || stop "a C compiler is missing: apt-get install gcc"
command -v npm >/dev/null || stop "Node.js 20.19 or newer is missing: https://nodejs.org"
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
  stop "Node.js $(node --version) is too old: 20.19 or newer is needed"

make --no-print-directory web
cargo build --profile quick --locked
app=${CARGO_TARGET_DIR:-target}/quick/lucid-node-management
data=target/run-data state=target/run-agent log=target/run.log
listen=127.0.0.1:${NODE_MANAGEMENT_PORT:-8095}
mkdir -p target

pids=()
finish() {
  # Only what this script started.
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  wait
}
trap finish EXIT
trap 'exit 0' INT TERM

: >"$log"
# The first time, this machine enrols itself: the token is made while the manager is not running yet.
token=
[ -e "$state/node.json" ] || token=$("$app" enrolment-token --data-dir "$data" 2>>"$log")

"$app" serve --data-dir "$data" --listen "$listen" 2>>"$log" &
manager=$!
pids+=("$manager")
until curl -fs -o /dev/null "http://$listen/health"; do
  kill -0 "$manager" 2>/dev/null || { tail -n 20 "$log" >&2; stop "the manager did not start"; }
  sleep 0.2
done
echo
echo "The manager runs at http://$listen (log: $log, data: $data)."
if [ -s "$data/setup-code" ]; then echo "Open it in a browser; the setup code is $(cat "$data/setup-code")"; fi

agent=("$app" agent --manager "http://$listen" --state-dir "$state" --name "$(hostname | tr -c 'a-zA-Z0-9\n' - | cut -c 1-90)")
if [ -n "$token" ]; then
  "${agent[@]}" --token-file - <<<"$token" 2>>"$log" &
else
  "${agent[@]}" 2>>"$log" &
fi
pids+=("$!")
echo "The agent of this machine reports to it every 30 s."
echo "Ctrl-C ends it; 'make clean-run' forgets it."
wait "$manager"
