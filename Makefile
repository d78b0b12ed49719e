# Everything a person or CI runs. Needs Rust 1.95, Node 20.19 or newer, and for `test-contract`, `test-tron` and `test-arm64` Python 3 with pip.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.PHONY: build licences run demo test bench bench-storage test-arm64 lint fmt web openapi fmt-check clippy deny test-web test-rust test-runs test-contract test-tron test-browser clean-run

APP := lucid-node-management
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
DEBUG := $(abspath $(TARGET_DIR))/debug/$(APP)
WEB_SOURCES := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' -not -path 'web/test-results/*' -not -path 'web/screenshots/*' 2>/dev/null)

# $(call step,name,command): says what runs and how long it took.
step = @echo "== $(1)"; began=$$SECONDS; $(2); echo "== $(1): $$((SECONDS - began)) s"

build: web ## target/release/lucid-node-management with the UI inside
	LUCID_COMMIT="$$(git rev-parse HEAD 2>/dev/null || true)" cargo build --release --locked

run: ## a manager on ./target/run-data, and an agent on this machine
	@packaging/run.sh

demo: web ## a month of two dozen simulated machines in a temporary store, at http://127.0.0.1:8095 until Ctrl-C
	cargo build --profile quick --locked --example demo
	@trap 'exit 0' INT; '$(TARGET_DIR)/quick/examples/demo' --listen 127.0.0.1:$${NODE_MANAGEMENT_PORT:-8095} $(DEMO_ARGS)

test: fmt-check web clippy deny test-web test-rust test-contract test-tron test-browser test-arm64 ## everything CI runs
	@echo "== all tests passed"

bench: web
	cargo bench --locked

bench-storage: web ## this store beside VictoriaMetrics and Prometheus (Debian: victoria-metrics, prometheus), where these are installed
	LUCID_BENCH=storage cargo bench --locked

openapi: web/node_modules/.installed ## the snapshot of the API, and the UI's types made from it
	$(call step,API snapshot,cargo run --quiet --locked --example openapi > data/.openapi.json && mv data/.openapi.json data/openapi.json)
	$(call step,API types,npm --prefix web run --silent generate)

licences: web/node_modules/.installed ## the licence texts that the binary carries, from what is locked now
	$(call step,licences,cargo fetch --quiet --locked && packaging/licences.py)

lint: fmt-check web clippy deny

fmt:
	cargo fmt

fmt-check:
	$(call step,format,cargo fmt --check)

clippy: web
	$(call step,clippy,cargo clippy --locked --all-targets -- -D warnings)

deny:
	$(call step,dependencies,packaging/check-dependencies.sh)

web: web/dist/index.html

web/node_modules/.installed: web/package-lock.json
	$(call step,web packages,npm --prefix web ci --no-audit --no-fund --loglevel=error && touch $@)

web/dist/index.html: web/node_modules/.installed $(WEB_SOURCES)
	$(call step,web build,npm --prefix web run --silent build && touch $@)

test-web: web/node_modules/.installed
	$(call step,web checks,npm --prefix web run --silent check:api && npm --prefix web run --silent check && npm --prefix web run --silent test)

test-rust: web
	$(call step,rust tests,if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --locked --no-fail-fast; else cargo test --locked; fi)

test-runs: web ## ten thousand payouts through random faults and deaths on the fake chain; `LUCID_RUNS_SEED=N` repeats one
	$(call step,runs,LUCID_RUNS=10000 cargo test --locked --test integration -- payout_runs::runs --nocapture)

test-contract: test-rust ## schemathesis makes requests from the OpenAPI document; `CONTRACT_ARGS='--seed N'` repeats a run
	$(call step,contract tests,LUCID_CONTRACT_CACHE='$(abspath $(TARGET_DIR))/contract' tests/contract/schemathesis.sh '$(DEBUG)' $(CONTRACT_ARGS))

test-tron: test-rust ## tronpy and tronweb pay with the fake TRON node that the Rust tests use
	$(call step,TRON clients,LUCID_TRON_CACHE='$(abspath $(TARGET_DIR))/tron' tests/tron/clients.sh '$(abspath $(TARGET_DIR))/debug/examples/tron_node')

test-browser: test-rust ## drives the binary that the Rust tests built
	$(call step,browser tests,packaging/need.sh chromium && LUCID_BIN='$(DEBUG)' LUCID_DEMO='$(abspath $(TARGET_DIR))/debug/examples/demo' LUCID_CHROMIUM="$$(command -v chromium)" npm --prefix web run --silent test:browser)

test-arm64: web ## the static ARM64 binary: manager and agent under qemu-user
	$(call step,ARM64 test,packaging/test-arm64.sh)

clean-run: ## forgets what `make run` made
	rm -rf target/run-data target/run-agent target/run.log
