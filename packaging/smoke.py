#!/usr/bin/env python3
"""Runs a binary the way an operator would: manager, setup, enrolment, agent, and a report that arrives.

    packaging/smoke.py [--runner QEMU] BINARY

Only the standard library; only loopback addresses. Exit status 0 when the report arrived and both processes ended cleanly.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone

USER, PASSWORD = "smoke", "correct horse battery staple"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Api:
    def __init__(self, base):
        self.base, self.token = base, None

    def call(self, method, path, body=None):
        headers = {"content-type": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error


class Program:
    """A process of the binary; its output goes to a file that is shown when something fails."""

    def __init__(self, command, log, environment):
        self.name, self.log = os.path.basename(log), log
        self.process = subprocess.Popen(command, stdout=open(log, "wb"), stderr=subprocess.STDOUT, env=environment)

    def check(self):
        if self.process.poll() is not None:
            raise SystemExit(f"{self.name} ended with status {self.process.returncode}")

    def stop(self):
        """Asks it to end; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise SystemExit(f"{self.name} does not end") from None


def until(what, seconds, programs, probe):
    """Polls `probe` until it answers with something true."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        for program in programs:
            program.check()
        found = probe()
        if found:
            print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)
            return found
        time.sleep(0.25)
    raise SystemExit(f"{what}: not within {seconds} s")


def healthy(base):
    try:
        with urllib.request.urlopen(base + "/health", timeout=5) as answer:
            return json.loads(answer.read())
    except (OSError, urllib.error.URLError):
        return None


def reported(api):
    for node in api.call("GET", "/api/v1/nodes")["nodes"]:
        if node["last_heartbeat"] and (node.get("latest") or {}).get("memory_total_bytes"):
            return node
    return None


def scenario(run, folder, programs, environment):
    base = f"http://127.0.0.1:{free_port()}"
    data = os.path.join(folder, "data")
    serve = [*run, "serve", "--data-dir", data, "--listen", base.removeprefix("http://")]
    manager = Program(serve, os.path.join(folder, "manager.log"), environment)
    programs.append(manager)
    until("first answer", 60, programs, lambda: healthy(base))

    api = Api(base)
    with open(os.path.join(data, "setup-code"), encoding="utf-8") as file:
        code = file.read().strip()
    moment = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
    setup = api.call("POST", "/api/v1/setup", {"code": code, "username": USER, "password": PASSWORD, "client_time": moment})
    assert setup["clock_confirmed"], setup
    api.token = api.call("POST", "/api/v1/auth/login", {"username": USER, "password": PASSWORD})["access_token"]

    enrolment = api.call("POST", "/api/v1/enrolment-tokens", {"uses": 1, "expires_in_seconds": 3600})
    token = os.path.join(folder, "token")
    with open(token, "w", encoding="utf-8") as file:
        file.write(enrolment["token"])
    join = [*run, "agent", "--manager", base, "--token-file", token, "--state-dir", os.path.join(folder, "agent"), "--name", "smoke-node"]
    agent = Program(join, os.path.join(folder, "agent.log"), environment)
    programs.append(agent)
    node = until("first report", 120, programs, lambda: reported(api))
    print(f"{node['node_id']} reports {node['latest']['memory_total_bytes'] / 1e9:.1f} GB of memory", flush=True)

    for program in (agent, manager):
        status = program.stop()
        assert status == 0, f"{program.name} ended with status {status}"
    verify = subprocess.run([*run, "verify", "--data-dir", data], env=environment, timeout=120, check=False)
    assert verify.returncode == 0, "the store does not verify"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runner", default="")
    parser.add_argument("binary")
    args = parser.parse_args()
    run = ([args.runner] if args.runner else []) + [args.binary]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LUCID_", "http", "HTTP"))}
    print(subprocess.run([*run, "--version"], env=environment, capture_output=True, check=True, text=True).stdout.strip(), flush=True)
    programs = []
    with tempfile.TemporaryDirectory(prefix="lucid-smoke-") as folder:
        try:
            scenario(run, folder, programs, environment)
            print("smoke test passed", flush=True)
        except BaseException:
            for program in programs:
                with open(program.log, encoding="utf-8", errors="replace") as log:
                    sys.stderr.write(f"--- {program.name}\n{log.read()[-8000:]}\n")
            raise
        finally:
            for program in programs:
                if program.process.poll() is None:
                    program.process.kill()
                    program.process.wait()


if __name__ == "__main__":
    main()
