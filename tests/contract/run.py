#!/usr/bin/env python3
"""Holds the running binary to its own OpenAPI document: schemathesis makes requests from it, singly and in sequences.

    tests/contract/schemathesis.sh BINARY [--seed N] [--seconds N]

Checked of every answer: no 500, a status code and a content type that the document names, a body and headers of the documented schema, nothing
served without credentials, nothing found after it was deleted. Exit status 0 when all hold and most routes were answered with success at least
once. Only loopback addresses; the store is a temporary folder. The seed is printed; it makes the same requests again, as far as time goes.
"""

import argparse
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
USER, PASSWORD = "contract", "correct horse battery staple"
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "ignored_auth",
    "use_after_free",
    "ensure_resource_availability",
]
# Routes that cannot be asked like others: an endless answer, and the end of the session that asks.
LEFT_OUT = ["/api/v1/events"]
# Share of all routes that must have succeeded at least once: below it, the run proves little.
LEAST_SUCCESSES = 0.6


def call(base, method, path, body=None, token=None):
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error


def start(binary, data, log):
    """The process, and where it listens."""
    limits = ["PUBLIC", "NODE", "PERSON", "ADMIN", "POOT", "PAYOUT"]
    environment = {**os.environ, "LUCID__CLOCK__TRUST": "always", **{f"LUCID__LIMITS__{of}_REQUESTS": "1000000" for of in limits}}
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", str(data)]
    process = subprocess.Popen(command, stdout=open(log, "wb"), stderr=subprocess.STDOUT, env=environment)
    began = time.monotonic()
    while time.monotonic() - began < 60:
        found = re.search(r"^listening on (\S+)", log.read_text(errors="replace"), re.MULTILINE)
        if found:
            return process, found[1]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    raise SystemExit(f"the manager does not listen:\n{log.read_text(errors='replace')}")


def seed_store(base, data):
    """Makes the first person and one of each thing; answers what stands for the ids of paths."""
    code = (data / "setup-code").read_text().strip()
    api = base + "/api/v1"
    call(api, "POST", "/setup", {"code": code, "username": USER, "password": PASSWORD})
    token = call(api, "POST", "/auth/login", {"username": USER, "password": PASSWORD})["access_token"]
    pool = call(api, "POST", "/nodes/pools", {"name": "contract-pool"}, token)["pool_id"]
    make = lambda name, **more: call(api, "POST", "/nodes", {"name": name, "node_type": "worker", **more}, token)["node_id"]
    nodes = [make("contract-one"), make("contract-two", initial_pool_id=pool)]
    user = call(api, "POST", "/users", {"username": "somebody", "password": PASSWORD, "role": "viewer"}, token)["id"]
    enrolment = call(api, "POST", "/enrolment-tokens", {}, token)["id"]
    return {"node": nodes, "pool": [pool, "pool_default"], "user": [user], "enrolment": [enrolment]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("binary")
    arguments.add_argument("--schemathesis", default="schemathesis")
    arguments.add_argument("--seed", type=int, default=None)
    arguments.add_argument("--seconds", type=int, default=150, help="for everything beyond the fixed cases")
    given = arguments.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lucid-contract-") as folder:
        folder = pathlib.Path(folder)
        data, log, tally = folder / "data", folder / "manager.log", folder / "tally.json"
        process, base = start(given.binary, data, log)
        try:
            ids = seed_store(base, data)
            document = call(base, "GET", "/api/v1/openapi.json")
            operations = ((method, path, of) for path, item in document["paths"].items() for method, of in item.items())
            asked = {f"{method.upper()} {path}" for method, path, of in operations if not of.get("x-planned") and path not in LEFT_OUT}
            environment = {
                **os.environ,
                "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
                "CONTRACT": json.dumps({"base": base, "user": USER, "password": PASSWORD, "ids": ids, "tally": str(tally)}),
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            command = [given.schemathesis, "--config-file", str(HERE / "schemathesis.toml"), "run", base + "/api/v1/openapi.json"]
            command += ["--checks", ",".join(CHECKS), "--seed", str(seed), "--max-time", str(given.seconds), "--no-color"]
            command += ["--exclude-by", "/x-planned == true", *(f"--exclude-path={path}" for path in LEFT_OUT)]
            status = subprocess.run(command, env=environment, cwd=folder).returncode
            if process.poll() is not None:
                raise SystemExit(f"the manager ended with {process.returncode}:\n{log.read_text(errors='replace')[-4000:]}")
            enough = judge(asked, json.loads(tally.read_text()))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
    sys.exit(status or (0 if enough else 1))


def judge(asked, tally):
    """Says which routes never succeeded; false when they are too many."""
    never = sorted(route for route in asked if not any(status.startswith("2") for status in tally.get(route, {})))
    share = 1 - len(never) / len(asked)
    requests = sum(sum(statuses.values()) for statuses in tally.values())
    print(f"{requests} requests; {share:.0%} of {len(asked)} routes succeeded at least once")
    for route in never:
        print(f"  never: {route}: {dict(sorted(tally.get(route, {}).items())) or 'not asked'}")
    return share >= LEAST_SUCCESSES


if __name__ == "__main__":
    main()
