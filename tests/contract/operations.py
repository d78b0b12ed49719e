"""What a valid request of an operation lacks to succeed: passwords and codes that are right now, numbers that agents count, ids of things that are there.

`FITS` has a function for each operation that never succeeds by itself, or by luck alone. It changes what has to be changed and nothing else, so that the
rest of a case stays as it was generated. What it needs is made on the spot, because other requests delete what they find.
"""

import base64
import datetime
import time

import agent
from cases import label, spread
from people import Account
from stage import RESET, RESET_OF, Stage

SLOT_SECONDS = 30
ADDRESS = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3"


def report(stage, case):
    """Of the next numbers, from the machine that enrolled, to the manager that runs."""
    if not case.body.get("items"):
        return
    for item in case.body["items"]:
        stage.seq += 1
        item["seq"] = stage.seq
    case.body.update(stage.who_reports())


def late(stage, case):
    newest = int(time.time()) // SLOT_SECONDS - 100
    for n, item in enumerate(case.body.get("items", [])):
        item["slot"] = newest - n
    case.body.update({"protocol": 1, "incarnation": stage.incarnation})


def commands(stage, case):
    stage.told += 1
    case.body.update({"protocol": 1, "incarnation": stage.incarnation, "number": stage.told})


def output(stage, case):
    """Of its own: a time that is near, and no slot."""
    case.body = {"protocol": 1, **made_output(stage)}


def validate(stage, case):
    case.path_parameters["id"] = stage.node()
    case.body = made_output(stage)


def validate_batch(stage, case):
    case.body = {"validations": [{"node_id": stage.node(), **made_output(stage)} for _ in range(2)]}


def made_output(stage):
    name = stage.name("output")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"output_data": base64.b64encode(f"an output called {name}".encode()).decode(), "timestamp": now, "nonce": f"nonce-{name}"}


def enrol(stage, case):
    """Each with a key and a machine of its own, some of them to wait for an admin."""
    machine = stage.name("machine")
    token = stage.token(needs_approval=spread(case) % 4 == 2)["token"]
    case.body.update({"protocol": 1, "token": token, "public_key": agent.new_key(machine), "fingerprint": agent.fingerprint(machine)})


def node_token(stage, case):
    node, key = stage.signer["node"], stage.signer["key"]
    challenge = stage.main.ask("POST", "/auth/node/challenge", {"node_id": node})["challenge"]
    signature = agent.sign(key, agent.CHALLENGE, stage.contract["manager"], node, 0, 0, challenge.encode())
    case.body = {"node_id": node, "challenge": challenge, "signature": signature}


def login(stage, case):
    account = stage.account(label(case))
    case.body = {"username": account.name, "password": account.password}


def confirm(stage, case):
    case.body = {"password": stage.account(label(case)).password}


def password(stage, case):
    new = stage.fresh_password(case.body.get("password"))
    case.body = {"current_password": stage.account(label(case)).password, "password": new}


def totp_begin(stage, case):
    case.body = {"password": stage.account(label(case)).password}


def totp_enable(stage, case):
    case.body = {"code": stage.account(label(case)).code_of_begun()}


def totp_disable(stage, case):
    account = stage.account(label(case))
    case.body = {"password": account.password, "totp": account.with_factor()}


def recovery_codes(stage, case):
    case.body = {"totp": stage.account(label(case)).with_factor()}


def totp_reset(stage, case):
    keeper = stage.people[RESET_OF]
    keeper.with_factor()
    case.path_parameters["id"] = keeper.id


def clock_confirm(stage, case):
    case.body = {"client_time": datetime.datetime.now(datetime.UTC).isoformat()}


def anchor_check(stage, case):
    case.body = stage.main.ask("GET", "/audit/anchor")


def decide(stage, case):
    case.path_parameters["id"] = stage.waiting()


def leaving(stage, case):
    """A node that leaves with its final payout."""
    node = stage.node()
    stage.main.ask("DELETE", f"/nodes/{node}?final_payout=true")
    case.path_parameters["id"] = node


def suspended(stage):
    node = stage.node()
    stage.main.ask("POST", f"/nodes/{node}/suspend", {"reason": "for a test"})
    return node


def appealed(stage, case):
    node = suspended(stage)
    stage.main.ask("POST", f"/nodes/{node}/appeal", {"text": "for a test"})
    case.path_parameters["id"] = node
    # Who suspended it does not uphold that.
    case.body["decision"] = "lift"


def suspend(stage, case):
    case.path_parameters["id"] = stage.node()
    case.body.pop("evidence_alert", None)


def planned_maintenance(stage, case):
    node = stage.node()
    begin = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=3)
    period = stage.main.ask("POST", f"/nodes/{node}/maintenance", {"from": begin.isoformat(), "duration_minutes": 5})
    case.path_parameters = {"id": node, "number": period["number"]}


def maintenance(stage, case):
    """At once: hours to come are a matter of the clock."""
    case.path_parameters["id"] = stage.node()
    case.body.pop("from", None)


def allocate(stage, case):
    """As little as that, beside what was generated: a new node has its hardware whole."""
    case.path_parameters["id"] = stage.node()
    case.body = {"cpu_percent": 1, **{name: value for name, value in case.body.items() if name == "name"}}


def adjustment(stage, case):
    """More than nothing, so that it needs no balance."""
    case.body.update({"node_id": stage.node(), "amount": "1.5"})


def reward(stage, case):
    """Equally, to a pool that has a member in service."""
    pool = stage.pool()
    stage.node(pool)
    case.path_parameters["id"] = pool
    case.body = {"amount": "1.5", "currency": "USDT", "split": "equal", "reason": "for a test", "dry_run": spread(case) % 2 == 0}


def renamed(**makers):
    """As `path_of`; names are not for two."""

    def fit(stage, case):
        path_of(**makers)(stage, case)
        if case.body.get("name") is not None:
            case.body["name"] = stage.name("renamed")

    return fit


def join(**makers):
    def fit(stage, case):
        path_of(**makers)(stage, case)
        case.body["node_id"] = stage.node()

    return fit


def allocation(stage, case):
    node = stage.node()
    made = stage.main.ask("POST", f"/nodes/{node}/resources/allocate", {"cpu_percent": 1})
    case.path_parameters = {"id": node, "allocation_id": made["id"]}


def member(stage, case):
    pool = stage.pool()
    case.path_parameters = {"pool_id": pool, "node_id": stage.node(pool)}


def another_person(stage, case):
    """Somebody with another password; one's own takes another way."""
    case.path_parameters["id"] = stage.user()
    case.body.pop("current_password", None)
    if case.body.get("password") is not None:
        case.body["password"] = stage.fresh_password(case.body["password"])


def recovery_kit(stage, case):
    case.body = {"passphrase": stage.fresh_password(case.body.get("passphrase")), "password": stage.main.password}


def own_session(stage, case):
    Account(stage.api, stage.main.name, stage.main.password).bearer()
    sessions = stage.main.ask("GET", "/sessions")["sessions"]
    case.path_parameters["id"] = next(session["id"] for session in sessions if not session["current"])


def session_of(stage, case):
    """Of the account that signs out again and again."""
    account = stage.people["POST /api/v1/auth/logout"]
    account.bearer()
    sessions = stage.main.ask("GET", f"/users/{account.id}/sessions")["sessions"]
    case.path_parameters = {"id": account.id, "session_id": sessions[0]["id"]}
    account.token = None


def stored_setting(stage, case):
    stage.main.ask("PUT", "/settings", [{"key": "log.level", "value": "info"}])
    case.path_parameters["key"] = "log.level"


def path_of(**makers):
    """Fills parameters of the path with what is made for it."""

    def fit(stage, case):
        for name, make in makers.items():
            case.path_parameters[name] = make(stage)

    return fit


def api_token(stage):
    return stage.main.ask("POST", "/tokens", {"name": stage.name("made"), "role": "viewer", "expires_in_days": 1})["id"]


def payout_request(stage):
    """Of a node with an address; what is asked for at a later moment needs no balance yet."""
    node = stage.node()
    stage.main.ask("PUT", f"/nodes/{node}/payout-address", {"address": ADDRESS, "currency": "USDT"})
    return {"node_id": node, "amount": "1"}


def batch(stage, case):
    begin = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=3)
    case.body = {"scheduled_at": begin.isoformat(), "payout_requests": [payout_request(stage)]}


def made_batch(stage):
    begin = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=3)
    body = {"scheduled_at": begin.isoformat(), "payout_requests": [payout_request(stage)]}
    made = stage.main.ask("POST", "/nodes/payouts/batch", body)["batch_id"]
    # A hundred may wait; one that is called off is still found.
    stage.main.ask("POST", f"/nodes/payouts/batches/{made}/cancel")
    return made


def open_batch(stage):
    begin = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=3)
    body = {"scheduled_at": begin.isoformat(), "payout_requests": [payout_request(stage)]}
    return stage.main.ask("POST", "/nodes/payouts/batch", body)["batch_id"]


REASON = {"reason": "for a test"}


def payout(stage):
    """Planned at once, of what an admin has owed a node."""
    request = payout_request(stage)
    stage.main.ask("POST", "/ledger/adjustments", {**REASON, "node_id": request["node_id"], "amount": "5", "currency": "USDT"})
    batch = stage.main.ask("POST", "/nodes/payouts/batch", {"payout_requests": [request]})["batch_id"]
    return stage.main.ask("GET", f"/nodes/payouts/batches/{batch}")["payouts"][0]["payout_id"]


def payout_decision(stage, case):
    """One that waits for a person is looked at again."""
    of = payout(stage)
    stage.main.ask("POST", f"/nodes/payouts/{of}/hold", REASON)
    case.path_parameters["payout_id"] = of
    case.body = {"choice": "check_again"}


def frozen(stage, case):
    stage.main.ask("POST", "/money/freeze", REASON)


def stopped(stage, case):
    stage.main.ask("POST", "/money/stop", REASON)


def trx_rate(stage, case):
    case.body = {"usdt": f"0.{1 + spread(case) % 9}"}


def payout_schedule(stage):
    body = {"name": stage.name("made"), "cron": "0 6 1 1 *", "what": "all_due", "enabled": False}
    return stage.main.ask("POST", "/nodes/payouts/schedule", body)["schedule_id"]


def schedule_body(stage, case):
    """Fields that do not go together are what is generated mostly."""
    kept = {name: value for name, value in case.body.items() if name in ("priority", "enabled")}
    case.body = {**kept, "name": stage.name("made"), "cron": "30 6 * * mon-fri", "timezone": "Europe/Zurich", "what": "all_due"}


def new_schedule(stage, case):
    """A hundred there may be."""
    stage.main.ask("DELETE", f"/nodes/payouts/schedule/{payout_schedule(stage)}")
    schedule_body(stage, case)


def changed_schedule(stage, case):
    case.path_parameters["schedule_id"] = payout_schedule(stage)
    schedule_body(stage, case)


def preview(stage, case):
    case.body = {}


FITS = {
    "POST /api/v1/agent/report": report,
    "POST /api/v1/agent/late": late,
    "POST /api/v1/agent/commands": commands,
    "POST /api/v1/agent/output": output,
    "POST /api/v1/nodes/{id}/poot/validate": validate,
    "POST /api/v1/nodes/poot/batch-validate": validate_batch,
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
    "POST /api/v1/audit/anchor/check": anchor_check,
    "POST /api/v1/enrolment-requests/{id}/approve": decide,
    "POST /api/v1/enrolment-requests/{id}/reject": decide,
    "POST /api/v1/ledger/adjustments": adjustment,
    "POST /api/v1/pools/{id}/rewards": reward,
    "PUT /api/v1/nodes/{id}": renamed(id=Stage.node),
    "PUT /api/v1/nodes/pools/{pool_id}": renamed(pool_id=Stage.pool),
    "POST /api/v1/nodes/{id}/maintenance": maintenance,
    "POST /api/v1/nodes/{id}/suspend": suspend,
    "POST /api/v1/nodes/{id}/unsuspend": path_of(id=suspended),
    "POST /api/v1/nodes/{id}/appeal": path_of(id=suspended),
    "POST /api/v1/nodes/{id}/appeal/decide": appealed,
    "POST /api/v1/nodes/{id}/resources/allocate": allocate,
    "POST /api/v1/nodes/pools/{pool_id}/nodes": join(pool_id=Stage.pool),
    "POST /api/v1/pools/{id}/join": join(id=Stage.pool),
    "DELETE /api/v1/nodes/{id}": path_of(id=Stage.node),
    "DELETE /api/v1/nodes/{id}/final-payout": leaving,
    "DELETE /api/v1/nodes/{id}/maintenance/{number}": planned_maintenance,
    "DELETE /api/v1/nodes/{id}/resources/allocations/{allocation_id}": allocation,
    "DELETE /api/v1/nodes/pools/{pool_id}": path_of(pool_id=Stage.pool),
    "DELETE /api/v1/nodes/pools/{pool_id}/nodes/{node_id}": member,
    "DELETE /api/v1/enrolment-tokens/{id}": path_of(id=lambda stage: stage.token()["id"]),
    "DELETE /api/v1/tokens/{id}": path_of(id=api_token),
    "PUT /api/v1/users/{id}": another_person,
    "POST /api/v1/recovery-kit": recovery_kit,
    "POST /api/v1/nodes/payouts/batch": batch,
    "GET /api/v1/poot/day-keys/{day}": path_of(day=lambda stage: "2001-09-09"),
    "GET /api/v1/pools/{pool_id}/poot": path_of(pool_id=Stage.pool),
    "GET /api/v1/nodes/payouts/{payout_id}": path_of(payout_id=payout),
    "POST /api/v1/nodes/payouts/{payout_id}/hold": path_of(payout_id=payout),
    "POST /api/v1/nodes/payouts/{payout_id}/decide": payout_decision,
    "POST /api/v1/money/unfreeze": frozen,
    "POST /api/v1/money/resume": stopped,
    "PUT /api/v1/money/trx-rate": trx_rate,
    "GET /api/v1/nodes/payouts/batches/{batch_id}": path_of(batch_id=made_batch),
    "POST /api/v1/nodes/payouts/batches/{batch_id}/cancel": path_of(batch_id=open_batch),
    "POST /api/v1/nodes/payouts/schedule": new_schedule,
    "GET /api/v1/nodes/payouts/schedule/{schedule_id}": path_of(schedule_id=payout_schedule),
    "PUT /api/v1/nodes/payouts/schedule/{schedule_id}": changed_schedule,
    "DELETE /api/v1/nodes/payouts/schedule/{schedule_id}": path_of(schedule_id=payout_schedule),
    "POST /api/v1/payouts/preview": preview,
    "DELETE /api/v1/users/{id}": path_of(id=Stage.user),
    "DELETE /api/v1/users/{id}/sessions/{session_id}": session_of,
    "DELETE /api/v1/sessions/{id}": own_session,
    "DELETE /api/v1/settings/{key}": stored_setting,
    "POST /api/v1/privacy/erase/{user_id}": path_of(user_id=Stage.user),
    "POST /api/v1/privacy/erase/nodes/{node_id}": path_of(node_id=Stage.node),
}
