"""Reads what schemathesis generated."""

import json
import re
import zlib

# Ids as the manager makes them: of a thing that is there, or was.
MADE = re.compile(r"_[0-9a-f]{32}$|^pool_default$")


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
    return is_fixed(case) or spread(case) % 2 == 0


def is_fixed(case):
    return case.meta.phase.name in ("examples", "coverage")
