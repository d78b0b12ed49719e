"""What schemathesis has to know of this API: how to sign in, and ids that exist."""

import atexit
import collections
import json
import os

import time

import requests
import schemathesis
from hypothesis import strategies as st

CONTRACT = json.loads(os.environ["CONTRACT"])
API = CONTRACT["base"] + "/api/v1"
session = {"token": None}
tally = collections.defaultdict(collections.Counter)


SIGN_IN_TRIES = 10


def sign_in():
    # Made-up passwords for this account slow its sign-in down, as they should: where it has signed in before, by ten seconds at most.
    for _ in range(SIGN_IN_TRIES):
        answer = requests.post(API + "/auth/login", json={"username": CONTRACT["user"], "password": CONTRACT["password"]}, timeout=30)
        if answer.status_code != 429:
            break
        time.sleep(int(answer.headers.get("retry-after", "1")))
    answer.raise_for_status()
    session["token"] = answer.json()["access_token"]


@schemathesis.auth(refresh_interval=None)
class Bearer:
    """Signs in again when the session has ended: some of the tested requests end it."""

    def get(self, case, context):
        if session["token"] is None:
            sign_in()
        return session["token"]

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


def known_ids(path, name):
    """What exists for a parameter of a path."""
    ids = CONTRACT["ids"]
    if name == "node_id" or path.startswith("/api/v1/nodes/{id}"):
        return ids["node"]
    if name == "pool_id" or path.startswith("/api/v1/pools/"):
        return ids["pool"]
    if path.startswith("/api/v1/users/"):
        return ids["user"]
    if path.startswith("/api/v1/enrolment-tokens/"):
        return ids["enrolment"]
    return []


@schemathesis.hook
def flatmap_path_parameters(context, path_parameters):
    """Half of the requests are about something that is there."""
    if not path_parameters or context.operation is None or context.operation.method == "delete":
        return st.just(path_parameters)
    known = {name: known_ids(context.operation.path, name) for name in path_parameters}
    real = st.fixed_dictionaries({name: st.sampled_from(ids) if ids else st.just(path_parameters[name]) for name, ids in known.items()})
    return st.booleans().flatmap(lambda exists: real if exists else st.just(path_parameters))


@schemathesis.hook
def after_call(context, case, response):
    tally[f"{case.operation.method.upper()} {case.operation.path}"][str(response.status_code)] += 1
    if response.status_code == 401 and "SessionUnknown" in response.text or case.operation.path.endswith("/auth/logout"):
        session["token"] = None


@atexit.register
def write_tally():
    with open(CONTRACT["tally"], "w") as file:
        json.dump(tally, file)
