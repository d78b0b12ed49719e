"""Makes valid requests ones that can succeed, and keeps all of them away from what the run itself needs."""

import collections

import agent
from cases import MADE, chosen, is_fixed, label, linked, spread
from operations import FITS
from people import NotDone

# Longer, the manager may wait for an order: longer than a request's time here.
MAX_WAIT_MS = 50


class Fitting:
    def __init__(self, stage):
        self.stage = stage
        # Operations that were asked without a query.
        self.plain = set()
        # The last case that was changed.
        self.fitted = None
        # What could not be made, and how often.
        self.missed = collections.Counter()

    def fit(self, case):
        """Makes `case` one that can succeed, where it is to."""
        path, operation = case.operation.path, label(case)
        if path == "/api/v1/agent/commands" and isinstance(case.body, dict) and agent.number(case.body.get("wait_ms")) > MAX_WAIT_MS:
            case.body["wait_ms"] = MAX_WAIT_MS
        self.spare(case, operation)
        if case.meta is None or case.meta.generation.mode.is_negative or not chosen(case):
            return
        if is_fixed(case) and operation not in self.plain:
            # No parameter of a query is required, and some exclude each other.
            self.plain.add(operation)
            case.query = {}
        try:
            if operation in FITS:
                if not linked(case):
                    FITS[operation](self.stage, case)
                    self.fitted = case.id
            else:
                self.known(case)
        except NotDone as error:
            self.missed[f"{operation}: {error}"[:400]] += 1

    def known(self, case):
        """Ids of things that were made before the run; later, those of earlier answers stay."""
        for name, id in (case.path_parameters or {}).items():
            ids = self.known_ids(case.operation.path, name)
            if ids and (is_fixed(case) or not MADE.search(str(id))):
                case.path_parameters[name] = ids[spread(case) % len(ids)]

    def known_ids(self, path, name):
        ids = self.stage.contract["ids"]
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
                if id in self.stage.contract["spared"]:
                    case.path_parameters[name] = self.stage.contract["ids"]["node" if str(id).startswith("node_") else "user"][0]

    def answered(self, case, response):
        self.stage.answered(case, response)
        if response.status_code == 409 and "ReportReplayed" in response.text and case.id == self.fitted:
            # A generated report was taken for a later start of the agent.
            self.stage.begin_incarnation()
