"""Who and what a run works with besides generated requests: accounts, a machine that is a node, and things made on the spot."""

import json

import requests

import agent
from cases import label
from people import Account, NotDone

RESET = "POST /api/v1/users/{id}/totp/reset"
# Stands for the account whose second factor is reset: it signs in to nothing else.
RESET_OF = "the second factor that is reset"


class Stage:
    """`contract` is what `run.prepare` made."""

    def __init__(self, contract):
        self.contract = contract
        self.api = contract["base"] + "/api/v1"
        person = lambda name: Account(self.api, name, contract["password"], contract["people"].get(name))
        self.main = person(contract["user"])
        # Each has an operation of its own: the password of one is changed, and wrong ones slow down who they are tried on.
        self.people = {operation: person(name) for operation, name in contract["accounts"].items()}
        self.signer = contract["signer"]
        agent.new_key("signer")
        self.incarnation, self.seq, self.told = self.signer["incarnation"], self.signer["seq"], 0
        self.made = 0

    def account(self, operation):
        """Whose session a request comes with."""
        return self.people.get(operation, self.main)

    def answered(self, case, response):
        """Remembers what an answer changed."""
        operation = label(case)
        account = self.account(operation)
        if response.status_code == 401 and "SessionUnknown" in response.text or operation == "POST /api/v1/auth/logout":
            account.token = None
        if not 200 <= response.status_code < 300:
            return
        if operation == "PUT /api/v1/auth/password":
            account.password = case.body["password"]
        elif operation in ("POST /api/v1/auth/totp/enable", "POST /api/v1/auth/recovery-codes"):
            account.recovery = response.json()["recovery_codes"]
        elif operation == "POST /api/v1/auth/totp/disable":
            account.recovery = []
        elif operation == RESET:
            keeper = self.people[RESET_OF]
            if case.path_parameters["id"] == keeper.id:
                keeper.recovery, keeper.token = [], None

    def name(self, kind):
        self.made += 1
        return f"{kind}-{self.made}"

    def node(self, pool=None):
        pool = pool or self.contract["workshop"]
        body = {"name": self.name("made"), "node_type": "worker", "initial_pool_id": pool, "hardware_info": agent.HARDWARE}
        return self.main.ask("POST", "/nodes", body)["node_id"]

    def pool(self):
        return self.main.ask("POST", "/nodes/pools", {"name": self.name("made")})["pool_id"]

    def user(self):
        body = {"username": self.name("made"), "password": self.contract["password"], "role": "viewer"}
        return self.main.ask("POST", "/users", body)["id"]

    def fresh_password(self, generated):
        """What was generated is a part of it; alone, it would mostly be too short."""
        plain = "".join(c for c in str(generated) if c.isascii() and c.isprintable())
        return f"{plain[:60]} {self.name('lantern')} over a quiet harbour"

    def token(self, **more):
        """For machines."""
        return self.main.ask("POST", "/enrolment-tokens", {"pool_id": self.contract["workshop"], **more})

    def waiting(self):
        """A machine that waits for an admin."""
        machine = self.name("waiting")
        key = agent.new_key(machine)
        body = json.dumps(agent.enrol_request(self.token(needs_approval=True)["token"], key, machine))
        send(self.contract["base"] + agent.ENROL, body, self.signature())
        listed = self.main.ask("GET", "/enrolment-requests?state=pending&limit=100")["enrolment_requests"]
        found = [request["id"] for request in listed if request["public_key"] == key]
        if not found:
            raise NotDone("the machine does not wait")
        return found[0]

    def begin_incarnation(self):
        """The agent starts again; its first report says so."""
        self.incarnation, self.seq, self.told = self.incarnation + 1, 1, 0
        said = {**self.who_reports(), "items": [{"seq": 1, "age_ms": 0, "sample": {}}], "agent_version": "contract"}
        send(self.contract["base"] + "/api/v1/agent/report", json.dumps(said), self.signature())

    def who_reports(self):
        said = {"protocol": 1, "incarnation": self.incarnation, "seq": self.seq}
        return {**said, "run": self.signer["run"], "fingerprint": self.signer["fingerprint"]}

    def signature(self):
        return agent.Signature(self.contract["manager"], self.signer["node"], self.signer["key"])


def send(url, body, signature):
    return requests.post(url, data=body, headers={"content-type": "application/json"}, auth=signature, timeout=30)
