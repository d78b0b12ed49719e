#!/usr/bin/env python3
"""Holds the running binary to its own OpenAPI document: schemathesis makes requests from it, singly and in sequences.

    tests/contract/schemathesis.sh BINARY [--seed N] [--seconds N]

Checked of every answer: no 500, a status code and a content type that the document names, a body and headers of the documented schema, nothing
served without credentials, nothing accepted that breaks the document, nothing found after it was deleted. Exit status 0 when all hold and every
operation was answered with success at least once, those of `NOT_COVERED` apart. Only loopback addresses; the store is a temporary folder. The seed is
printed; it makes the same requests again, as far as time goes.
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

import requests

import agent
from people import Account
from stage import RESET_OF

HERE = pathlib.Path(__file__).resolve().parent
USER, PASSWORD = "contract", "correct horse battery staple"
ADDRESS = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3"
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "use_after_free",
    "ensure_resource_availability",
]
# What this test never sees succeed, and why.
NOT_COVERED = {
    "GET /api/v1/archives/{name}": "the first archive is made a year after the first output",
    "GET /api/v1/events": "its answer does not end",
    "GET /api/v1/openapi.json": "schemathesis leaves out the document that it reads",
    "POST /api/v1/setup": "it works once in the life of a store, and this script needs it",
    "GET /api/v1/nodes/{id}/poot/validations/{validation_id}/output": "no outputs are kept unless that is set",
    "GET /api/v1/poot/epochs/{epoch}": "the first epoch closes minutes after the end of this test",
    "GET /api/v1/poot/{node_id}": "a proof is of an epoch with nodes, and the first one closes minutes after the end of this test",
    "GET /api/v1/poot/consistency": "it takes first slots of two epochs with heads, which nobody guesses",
    "POST /api/v1/poot/calculate": "no slot of an epoch closes before the end of this test",
    "POST /api/v1/money/live": "it wants a gateway that moves money",
    "POST /api/v1/money/unknown-transfers/{txid}/book": "it wants a wallet that somebody else spends from",
    "POST /api/v1/payouts/approvals": "a dry run of a few payouts stays below the threshold",
    "POST /api/v1/wallet/unlock": "a dry run has no signer",
    "GET /api/v1/fleet/managers": "no cluster is configured",
    "GET /api/v1/fleet/nodes": "no cluster is configured",
    "GET /api/v1/fleet/summary": "no cluster is configured",
    "POST /api/v1/replication/pause": "no cluster is configured",
    "POST /api/v1/replication/resume": "no cluster is configured",
    "POST /api/v1/replication/resync": "no cluster is configured",
    "DELETE /api/v1/outbox/{number}": "a message is given up after three days",
}
LEFT_OUT = ["/api/v1/events"]
# Who asks for what: operations that change the account that asks, or slow it down, have one each.
ACCOUNTS = {
    "POST /api/v1/auth/login": "entrant",
    "POST /api/v1/auth/logout": "leaver",
    "POST /api/v1/auth/confirm": "confirmer",
    "PUT /api/v1/auth/password": "changer",
    "POST /api/v1/auth/totp/begin": "beginner",
    "POST /api/v1/auth/totp/enable": "enabler",
    "POST /api/v1/auth/totp/disable": "disabler",
    "POST /api/v1/auth/recovery-codes": "renewer",
    RESET_OF: "keeper",
}


def start(binary, data, log):
    """The process, and where it listens."""
    limits = ["PUBLIC", "NODE", "PERSON", "ADMIN", "POOT", "PAYOUT"]
    # Addresses are paid at once, so that there are payouts to look at.
    environment = {**os.environ, "LUCID__CLOCK__TRUST": "always", "LUCID__PAYOUT__ADDRESS_COOLDOWN_HOURS": "0", **{f"LUCID__LIMITS__{of}_REQUESTS": "1000000" for of in limits}}
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


def prepare(base, data):
    """Makes the first person, one of each thing, and a machine that is a node; answers what `Stage` has to know."""
    api = base + "/api/v1"
    setup = {"code": (data / "setup-code").read_text().strip(), "username": USER, "password": PASSWORD}
    requests.post(api + "/setup", json=setup, timeout=30).raise_for_status()
    main = Account(api, USER, PASSWORD)
    add = lambda name: main.ask("POST", "/users", {"username": name, "password": PASSWORD, "role": "viewer"})["id"]
    people = {name: add(name) for name in ACCOUNTS.values()}
    make_pool = lambda name: main.ask("POST", "/nodes/pools", {"name": name, "max_nodes": 1000})["pool_id"]
    pool, workshop = make_pool("contract-pool"), make_pool("workshop")
    make = lambda name, **more: main.ask("POST", "/nodes", {"name": name, "node_type": "worker", **more})["node_id"]
    nodes = [make("contract-one"), make("contract-two", initial_pool_id=pool)]
    for node in nodes:
        main.ask("PUT", f"/nodes/{node}/payout-address", {"address": ADDRESS, "currency": "USDT"})
    signer = enrol(base, main.ask("POST", "/enrolment-tokens", {"pool_id": workshop})["token"])
    alerts = [alert["id"] for alert in main.ask("GET", "/alerts")["alerts"]]
    return {
        "base": base,
        "user": USER,
        "password": PASSWORD,
        "accounts": ACCOUNTS,
        "people": people,
        "manager": signer.pop("manager"),
        "signer": signer,
        "workshop": workshop,
        "ids": {"node": nodes, "pool": [pool, "pool_default"], "user": [add("somebody")], "alert": alerts},
        "spared": [main.ask("GET", "/auth/me")["user"]["id"], signer["node"], *people.values()],
    }


def enrol(base, token):
    """Makes this script a node that has reported, and has raised an alert by a report from another machine."""
    key = agent.new_key("signer")

    def send(path, body, signature, wanted=200):
        answer = requests.post(base + path, data=json.dumps(body), headers={"content-type": "application/json"}, auth=signature, timeout=30)
        if answer.status_code != wanted:
            raise SystemExit(f"{path}: {answer.status_code} {answer.text}")
        return answer.json()

    enrolled = send(agent.ENROL, agent.enrol_request(token, key, "signer"), agent.Signature("", "", key))
    signature = agent.Signature(enrolled["manager_id"], enrolled["node_id"], key)
    # The first report learns which run of the manager it is.
    items = [{"seq": 1, "age_ms": 0, "sample": {}}]
    said = {"protocol": 1, "incarnation": 1, "seq": 1, "items": items, "fingerprint": agent.fingerprint("signer"), "agent_version": "contract"}
    said["run"] = send("/api/v1/agent/report", said, signature)["run"]
    accepted = send("/api/v1/agent/report", said, signature)["accepted_seq"]
    send("/api/v1/agent/report", {**said, "fingerprint": agent.fingerprint("thief")}, signature, wanted=403)
    known = {name: said[name] for name in ["incarnation", "run", "fingerprint"]}
    return {**known, "seq": accepted, "manager": enrolled["manager_id"], "node": enrolled["node_id"], "key": key}


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
            contract = prepare(base, data)
            document = requests.get(base + "/api/v1/openapi.json", timeout=30).json()
            operations = ((method, path, of) for path, item in document["paths"].items() for method, of in item.items())
            promised = {
                f"{method.upper()} {path}": [status for status in of["responses"] if status.startswith("2")]
                for method, path, of in operations
            }
            environment = {
                **os.environ,
                "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
                "CONTRACT": json.dumps({**contract, "tally": str(tally)}),
                "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
            }
            command = [given.schemathesis, "--config-file", str(HERE / "schemathesis.toml"), "run", base + "/api/v1/openapi.json"]
            command += ["--checks", ",".join(CHECKS), "--seed", str(seed), "--max-time", str(given.seconds), "--no-color"]
            command += [*(f"--exclude-path={path}" for path in LEFT_OUT)]
            status = subprocess.run(command, env=environment, cwd=folder).returncode
            if process.poll() is not None:
                raise SystemExit(f"the manager ended with {process.returncode}:\n{log.read_text(errors='replace')[-4000:]}")
            enough = judge(promised, json.loads(tally.read_text()))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
    sys.exit(status or (0 if enough else 1))


def judge(promised, told):
    """Prints which documented successes were seen how often; false when an operation has none that should have one."""
    tally = told["seen"]
    print(f"{sum(sum(statuses.values()) for statuses in tally.values())} requests; successes as the document names them:")
    never = []
    for operation, successes in sorted(promised.items()):
        seen = tally.get(operation, {})
        counts = ", ".join(f"{status}: {seen.get(status, 0)}" for status in sorted(successes))
        why = NOT_COVERED.get(operation)
        print(f"  {operation}  {counts}{f'  (not covered: {why})' if why else ''}")
        if not any(seen.get(status) for status in successes) and not why:
            never.append(f"never answered with success: {operation}: {dict(sorted(seen.items())) or 'not asked before the time was over'}")
    for what, times in sorted(told["missed"].items()):
        print(f"could not be prepared, {times} times: {what}")
    print("\n".join(never) or f"every operation succeeded but {len(NOT_COVERED)} that are not covered")
    return not never


if __name__ == "__main__":
    main()
