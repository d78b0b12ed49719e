"""What schemathesis has to know of this API: how to sign in and to sign, and what a request lacks to succeed (`operations`)."""

import atexit
import collections
import copy
import json
import os

import jsonschema_rs
import schemathesis
from schemathesis.core.failures import AcceptedNegativeData

from cases import label
from fitting import Fitting
from stage import Stage

CONTRACT = json.loads(os.environ["CONTRACT"])
stage = Stage(CONTRACT)
fits = Fitting(stage)
tally = collections.defaultdict(collections.Counter)

# The first that fits is used.
schemathesis.auth.set_from_requests(stage.signature()).apply_to(path_regex="^/api/v1/agent/")


@schemathesis.auth(refresh_interval=None)
class Bearer:
    """Signs in again when the session has ended: some of the tested requests end it."""

    def get(self, case, context):
        return stage.account(label(case)).bearer()

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.hook
def before_call(context, case, kwargs):
    fits.fit(case)


@schemathesis.hook
def after_call(context, case, response):
    tally[label(case)][str(response.status_code)] += 1
    fits.answered(case, response)


MEASURED = ["cpu", "memory", "disk", "gpu"]


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Measurements beyond their range do not lose a report its proof: the manager leaves them out (`Sample::sanitised`). They are no failure, where they
    are all that is wrong with a body. A signature that was left out is put back by who signs, and no failure either."""
    schemas = {"/api/v1/agent/report": "NodeReport", "/api/v1/agent/late": "LateBatch", "/api/v1/agent/output": "OutputRequest"}
    schema = schemas.get(case.operation.path)
    if not isinstance(failure, AcceptedNegativeData) or schema is None:
        return True
    body = copy.deepcopy(case.body)
    for group in (item["sample"].get(name) for item in body.get("items", []) for name in MEASURED):
        for name in [name for name, value in (group or {}).items() if type(value) in (int, float)]:
            group[name] = None
    document = {"$ref": f"#/components/schemas/{schema}", "components": case.operation.schema.raw_schema["components"]}
    return not jsonschema_rs.validator_for(document).is_valid(body)


@atexit.register
def write_tally():
    with open(CONTRACT["tally"], "w") as file:
        json.dump({"seen": tally, "missed": fits.missed}, file)
