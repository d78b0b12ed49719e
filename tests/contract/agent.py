"""An agent as the manager sees it: keys, and signatures over the exact bytes of a request. The layout is that of `src/wire.rs`."""

import hashlib
import json
import struct

import requests
from nacl.signing import SigningKey

PURPOSES = {
    "/api/v1/agent/enrol": "lucid/enrol/v1",
    "/api/v1/agent/report": "lucid/report/v1",
    "/api/v1/agent/late": "lucid/late/v1",
    "/api/v1/agent/commands": "lucid/commands/v1",
    "/api/v1/agent/output": "lucid/output/v1",
}
ENROL = "/api/v1/agent/enrol"
CHALLENGE = "lucid/challenge/v1"
FINGERPRINT_PARTS = ["machine_id", "board_serial", "cpu", "memory", "disk_id", "macs"]
NETWORK = [{"interface": "eth0", "speed_mbps": 1000}]
HARDWARE = {"cpu": {"cores": 4}, "memory": {"total_bytes": 4_000_000_000}, "storage": {"total_bytes": 32_000_000_000}, "network": NETWORK}
# Keys by their hex: whoever makes one signs for it.
keys = {}


def new_key(name):
    """The same for the same name, so that a seed repeats a run."""
    key = SigningKey(hashlib.sha256(f"contract {name}".encode()).digest())
    public = key.verify_key.encode().hex()
    keys[public] = key
    return public


def fingerprint(name):
    return {part: hashlib.sha256(f"{name} {part}".encode()).hexdigest()[:32] for part in FINGERPRINT_PARTS}


def sign(key, purpose, manager, node, incarnation, seq, body):
    """Hex. `key` is a public one, in hex."""
    covered = b""
    for text in [purpose, manager, node]:
        covered += struct.pack("<H", len(text.encode())) + text.encode()
    covered += struct.pack("<QQ", incarnation, seq) + hashlib.sha256(body).digest()
    return keys[key].sign(covered).signature.hex()


def number(value):
    """As it is signed; what is no such number is refused before its signature is looked at."""
    return value if type(value) is int and 0 <= value < 1 << 64 else 0


class Signature(requests.auth.AuthBase):
    """Signs a request when its bytes are final: as the node `node`, an enrolment with the key that it names where that is ours."""

    def __init__(self, manager, node, key):
        self.manager, self.node, self.key = manager, node, key

    def __call__(self, request):
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        path = request.path_url.partition("?")[0]
        try:
            said = json.loads(body)
        except ValueError:
            said = None
        said = said if isinstance(said, dict) else {}
        if path == ENROL:
            named = said.get("public_key")
            key = named if isinstance(named, str) and named in keys else self.key
            signature = sign(key, PURPOSES[path], "", "", 0, 0, body)
        else:
            seq = number(said.get("number" if path.endswith("/commands") else "seq")) if not path.endswith("/late") else 0
            incarnation = number(said.get("incarnation"))
            if path.endswith("/output"):
                incarnation = seq = 0
            signature = sign(self.key, PURPOSES[path], self.manager, self.node, incarnation, seq, body)
            request.headers["x-lucid-node"] = self.node
        request.headers["x-lucid-signature"] = signature
        return request


def enrol_request(token, key, name):
    return {
        "protocol": 1,
        "token": token,
        "public_key": key,
        "fingerprint": fingerprint(name),
        "hardware": HARDWARE,
        "name": name,
        "agent_version": "contract",
    }
