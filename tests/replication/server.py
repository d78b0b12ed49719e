"""NX-27017, which has no Decimal128, and no bytes in updates: it is taught to keep the one in the JSON form that MongoDB has for it, the other as it does elsewhere."""

import sys

from bson import Decimal128
from neosqlite.binary import Binary
from neosqlite.collection import json_helpers

WRITTEN = "$numberDecimal"
encode = json_helpers.NeoSQLiteJSONEncoder.default
load = json_helpers.neosqlite_json_loads


def default(self, value):
    if isinstance(value, Decimal128):
        return {WRITTEN: str(value)}
    if isinstance(value, bytes):
        return Binary(value).encode_for_storage()
    return encode(self, value)


def decimals(value):
    if isinstance(value, list):
        return [decimals(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {WRITTEN}:
            return Decimal128(value[WRITTEN])
        return {key: decimals(item) for key, item in value.items()}
    return value


def loads(text, **options):
    return decimals(load(text, **options))


def main():
    from nx_27017.nx_27017 import main as serve

    json_helpers.NeoSQLiteJSONEncoder.default = default
    # Modules have the function under their own names.
    for module in list(sys.modules.values()):
        if getattr(module, "neosqlite_json_loads", None) is load:
            module.neosqlite_json_loads = loads
    return serve()


if __name__ == "__main__":
    sys.exit(main())
