"""What a generated request lacks to succeed: passwords and codes that are right now, signatures' numbers, ids of things that are there.

`FITS` has a function for each operation that never succeeds by itself. It changes what has to be changed in a case and nothing else, so that the rest
of it stays as it was generated. What it needs is made on the spot, because other requests delete what they find.
"""

import collections
import datetime
import json
import re
import time
import zlib

import requests

import agent
from people import Account, NotDone

SLOT_SECONDS = 30
# Longer, the manager may wait for an order: longer than a request's time here.
MAX_WAIT_MS = 50
# Ids as the manager makes them: of a thing that is there, or was.
MADE = re.compile(r"_[0-9a-f]{32}$|^pool_default$")


class Fitting:
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
        # The last case that was changed.
        self.fitted = None
        self.made = 0
        # What could not be made, and how often.
        self.missed = collections.Counter()

    def account(self, operation):
        """Whose session a request comes with."""
        return self.people.get(operation, self.main)

    def fit(self, case):
        """Makes `case` one that can succeed, where it is to."""
        path, operation = case.operation.path, label(case)
        if path == "/api/v1/agent/commands" and isinstance(case.body, dict) and agent.number(case.body.get("wait_ms")) > MAX_WAIT_MS:
            case.body["wait_ms"] = MAX_WAIT_MS
        self.spare(case, operation)
        if case.meta is None or case.meta.generation.mode.is_negative or not chosen(case):
            return
        try:
            if operation in FITS:
                if not linked(case):
                    FITS[operation](self, case)
                    self.fitted = case.id
            else:
                self.known(case)
        except NotDone as error:
            self.missed[f"{operation}: {error}"[:400]] += 1

    def known(self, case):
        """Ids of things that were made before the run."""
        for name, id in (case.path_parameters or {}).items():
            ids = self.known_ids(case.operation.path, name)
            if ids and not MADE.search(str(id)):
                case.path_parameters[name] = ids[spread(case) % len(ids)]

    def known_ids(self, path, name):
        ids = self.contract["ids"]
        if name == "node_id" or path.startswith("/api/v1/nodes/{id}"):
            return ids["node"]
        if name == "pool_id" or path.startswith("/api/v1/pools/"):
            return ids["pool"]
        if path.startswith("/api/v1/alerts/"):
            return ids["alert"]
        return ids["user"] if path.startswith(("/api/v1/users/", "/api/v1/privacy/export/")) else []

    def spare(self, case, operation):
        """Turns what would end those that this test needs to others."""
        if not operation.startswith("GET ") and case.path_parameters:
            for name, id in case.path_parameters.items():
                if id in self.contract["spared"]:
                    case.path_parameters[name] = self.contract["ids"]["node" if str(id).startswith("node_") else "user"][0]

    def answered(self, case, response):
        """Remembers what an answer changed."""
        operation = label(case)
        account = self.account(operation)
        if response.status_code == 401 and "SessionUnknown" in response.text or operation == "POST /api/v1/auth/logout":
            account.token = None
        if response.status_code == 409 and "ReportReplayed" in response.text and case.id == self.fitted:
            # A generated report was taken for a later start of the agent: start again.
            self.begin_incarnation()
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

    # What is made on the spot.

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


def label(case):
    return f"{case.operation.method.upper()} {case.operation.path}"


def spread(case):
    """A number that is the same whenever the same request is generated."""
    return zlib.crc32(json.dumps([case.path_parameters, case.query, repr(case.body)], sort_keys=True, default=repr).encode())


def linked(case):
    """It follows an earlier request of a sequence, and is about what that one made."""
    ids = (case.path_parameters or {}).values()
    return case.meta.phase.name == "stateful" and bool(ids) and all(MADE.search(str(id)) or str(id).isdecimal() for id in ids)


def chosen(case):
    """Half of what is valid goes out as it was generated; the fixed cases, of which there are few, do not."""
    return case.meta.phase.name in ("examples", "coverage") or spread(case) % 2 == 0


# Operations.


def report(fitting, case):
    """Of the next numbers, from the machine that enrolled, to the manager that runs."""
    if not case.body.get("items"):
        return
    for item in case.body["items"]:
        fitting.seq += 1
        item["seq"] = fitting.seq
    case.body.update(fitting.who_reports())


def late(fitting, case):
    newest = int(time.time()) // SLOT_SECONDS - 100
    for n, item in enumerate(case.body.get("items", [])):
        item["slot"] = newest - n
    case.body.update({"protocol": 1, "incarnation": fitting.incarnation})


def commands(fitting, case):
    fitting.told += 1
    case.body.update({"protocol": 1, "incarnation": fitting.incarnation, "number": fitting.told})


def enrol(fitting, case):
    """Each with a key and a machine of its own, some of them to wait for an admin."""
    machine = fitting.name("machine")
    token = fitting.token(needs_approval=spread(case) % 4 == 2)["token"]
    case.body.update({"protocol": 1, "token": token, "public_key": agent.new_key(machine), "fingerprint": agent.fingerprint(machine)})


def node_token(fitting, case):
    node, key = fitting.signer["node"], fitting.signer["key"]
    challenge = fitting.main.ask("POST", "/auth/node/challenge", {"node_id": node})["challenge"]
    signature = agent.sign(key, agent.CHALLENGE, fitting.contract["manager"], node, 0, 0, challenge.encode())
    case.body = {"node_id": node, "challenge": challenge, "signature": signature}


def login(fitting, case):
    account = fitting.account(label(case))
    case.body = {"username": account.name, "password": account.password}


def confirm(fitting, case):
    case.body = {"password": fitting.account(label(case)).password}


def password(fitting, case):
    new = fitting.fresh_password(case.body.get("password"))
    case.body = {"current_password": fitting.account(label(case)).password, "password": new}


def totp_begin(fitting, case):
    case.body = {"password": fitting.account(label(case)).password}


def totp_enable(fitting, case):
    case.body = {"code": fitting.account(label(case)).code_of_begun()}


def totp_disable(fitting, case):
    account = fitting.account(label(case))
    case.body = {"password": account.password, "totp": account.with_factor()}


def recovery_codes(fitting, case):
    case.body = {"totp": fitting.account(label(case)).with_factor()}


def totp_reset(fitting, case):
    keeper = fitting.people[RESET_OF]
    keeper.with_factor()
    case.path_parameters["id"] = keeper.id


def clock_confirm(fitting, case):
    case.body = {"client_time": datetime.datetime.now(datetime.UTC).isoformat()}


def decide(fitting, case):
    case.path_parameters["id"] = fitting.waiting()


def leaving(fitting, case):
    """A node that leaves with its final payout."""
    node = fitting.node()
    fitting.main.ask("DELETE", f"/nodes/{node}?final_payout=true")
    case.path_parameters["id"] = node


def planned_maintenance(fitting, case):
    node = fitting.node()
    begin = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=3)
    period = fitting.main.ask("POST", f"/nodes/{node}/maintenance", {"from": begin.isoformat(), "duration_minutes": 5})
    case.path_parameters = {"id": node, "number": period["number"]}


def allocation(fitting, case):
    node = fitting.node()
    made = fitting.main.ask("POST", f"/nodes/{node}/resources/allocate", {"cpu_percent": 1})
    case.path_parameters = {"id": node, "allocation_id": made["id"]}


def member(fitting, case):
    pool = fitting.pool()
    case.path_parameters = {"pool_id": pool, "node_id": fitting.node(pool)}


def another_person(fitting, case):
    """Somebody with another password; one's own takes another way."""
    case.path_parameters["id"] = fitting.user()
    case.body.pop("current_password", None)
    if case.body.get("password") is not None:
        case.body["password"] = fitting.fresh_password(case.body["password"])


def recovery_kit(fitting, case):
    case.body = {"passphrase": fitting.fresh_password(case.body.get("passphrase")), "password": fitting.main.password}


def own_session(fitting, case):
    sessions = fitting.main.ask("GET", "/sessions")["sessions"]
    others = [session["id"] for session in sessions if not session["current"]]
    if others:
        case.path_parameters["id"] = others[0]


def session_of(fitting, case):
    """Of the account that signs out again and again."""
    account = fitting.people["POST /api/v1/auth/logout"]
    account.bearer()
    sessions = fitting.main.ask("GET", f"/users/{account.id}/sessions")["sessions"]
    case.path_parameters = {"id": account.id, "session_id": sessions[0]["id"]}
    account.token = None


def stored_setting(fitting, case):
    fitting.main.ask("PUT", "/settings", [{"key": "log.level", "value": "info"}])
    case.path_parameters["key"] = "log.level"


def path_of(**makers):
    """Fills parameters of the path with what is made for it."""

    def fit(fitting, case):
        for name, make in makers.items():
            case.path_parameters[name] = make(fitting)

    return fit


def api_token(fitting):
    return fitting.main.ask("POST", "/tokens", {"name": fitting.name("made"), "role": "viewer", "expires_in_days": 1})["id"]


RESET = "POST /api/v1/users/{id}/totp/reset"
# Stands for the account whose second factor is reset: it signs in to nothing else.
RESET_OF = "the second factor that is reset"
FITS = {
    "POST /api/v1/agent/report": report,
    "POST /api/v1/agent/late": late,
    "POST /api/v1/agent/commands": commands,
    "POST /api/v1/agent/enrol": enrol,
    "POST /api/v1/auth/node/token": node_token,
    "POST /api/v1/auth/login": login,
    "POST /api/v1/auth/confirm": confirm,
    "PUT /api/v1/auth/password": password,
    "POST /api/v1/auth/totp/begin": totp_begin,
    "POST /api/v1/auth/totp/enable": totp_enable,
    "POST /api/v1/auth/totp/disable": totp_disable,
    "POST /api/v1/auth/recovery-codes": recovery_codes,
    RESET: totp_reset,
    "POST /api/v1/clock/confirm": clock_confirm,
    "POST /api/v1/enrolment-requests/{id}/approve": decide,
    "POST /api/v1/enrolment-requests/{id}/reject": decide,
    "DELETE /api/v1/nodes/{id}": path_of(id=Fitting.node),
    "DELETE /api/v1/nodes/{id}/final-payout": leaving,
    "DELETE /api/v1/nodes/{id}/maintenance/{number}": planned_maintenance,
    "DELETE /api/v1/nodes/{id}/resources/allocations/{allocation_id}": allocation,
    "DELETE /api/v1/nodes/pools/{pool_id}": path_of(pool_id=Fitting.pool),
    "DELETE /api/v1/nodes/pools/{pool_id}/nodes/{node_id}": member,
    "DELETE /api/v1/enrolment-tokens/{id}": path_of(id=lambda fitting: fitting.token()["id"]),
    "DELETE /api/v1/tokens/{id}": path_of(id=api_token),
    "PUT /api/v1/users/{id}": another_person,
    "POST /api/v1/recovery-kit": recovery_kit,
    "DELETE /api/v1/users/{id}": path_of(id=Fitting.user),
    "DELETE /api/v1/users/{id}/sessions/{session_id}": session_of,
    "DELETE /api/v1/sessions/{id}": own_session,
    "DELETE /api/v1/settings/{key}": stored_setting,
    "POST /api/v1/privacy/erase/{user_id}": path_of(user_id=Fitting.user),
    "POST /api/v1/privacy/erase/nodes/{node_id}": path_of(node_id=Fitting.node),
}

