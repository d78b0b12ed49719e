#!/usr/bin/env python3
"""Starts the fake TRON node and lets tronpy and tronweb, as they are published, pay with it. Fails when either does.

Needs PYTHONPATH with tronpy; `--tronweb` is a folder with node_modules in it.
"""

import argparse
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from tronpy.keys import PrivateKey

HERE = pathlib.Path(__file__).resolve().parent
TIMEOUT_SECONDS = 100
# Enough to see a transfer wait for its block to be final; the real chain's 18 would take a minute.
SOLID_DISTANCE = 3


def key(label: str) -> PrivateKey:
    return PrivateKey(hashlib.sha256(label.encode()).digest())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node", required=True)
    parser.add_argument("--tronweb", required=True)
    arguments = parser.parse_args()
    began = time.monotonic()
    payers = {name: key(f"{name} pays") for name in ("tronpy", "tronweb")}
    payees = {name: key(f"{name} is paid").public_key.to_base58check_address() for name in payers}
    funds = [f"--fund={payer.public_key.to_base58check_address()}:1000:1000" for payer in payers.values()]
    node = subprocess.Popen(
        [arguments.node, "--listen=127.0.0.1:0", f"--solid-distance={SOLID_DISTANCE}", *funds], stdout=subprocess.PIPE, text=True
    )
    with tempfile.TemporaryDirectory() as scratch:
        # Node looks for modules beside the script.
        shutil.copy(HERE / "with_tronweb.mjs", scratch)
        os.symlink(pathlib.Path(arguments.tronweb).resolve() / "node_modules", f"{scratch}/node_modules")
        try:
            url = node.stdout.readline().removeprefix("listening on ").strip()
            clients = {}
            for name, command in {
                "tronpy": [sys.executable, str(HERE / "with_tronpy.py")],
                "tronweb": ["node", f"{scratch}/with_tronweb.mjs"],
            }.items():
                environment = os.environ | {"TRON_NODE": url, "TRON_KEY": payers[name].hex(), "TRON_PAYEE": payees[name]}
                clients[name] = subprocess.Popen(command, env=environment)
            failed = [name for name, client in clients.items() if client.wait(TIMEOUT_SECONDS) != 0]
        finally:
            node.terminate()
            node.wait()
    for name in failed:
        print(f"{name} failed against the fake node", file=sys.stderr)
    print(f"tronpy and tronweb: {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
