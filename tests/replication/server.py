"""NX-27017, taught to keep types that it loses: Decimal128 everywhere, and in updates moments, truth values and bytes within others."""

import sys
from datetime import datetime

from bson import Decimal128
from neosqlite.binary import Binary
from neosqlite.collection import json_helpers
from neosqlite.collection.query_helper import _sql_updates

WRITTEN = "$numberDecimal"
encode = json_helpers.NeoSQLiteJSONEncoder.default
load = json_helpers.neosqlite_json_loads
convert = _sql_updates._convert_bytes_to_binary


def default(self, value):
    if isinstance(value, Decimal128):
        return {WRITTEN: str(value)}
    if isinstance(value, bytes) and not isinstance(value, Binary):
        return Binary(value).encode_for_storage()
    return encode(self, value)


class Scalar(Binary):
    """Stored as JSON, which updates do with nothing else that is no list and no object."""

    def __new__(cls, value):
        made = super().__new__(cls, b"")
        made.value = value
        return made

    def encode_for_storage(self):
        return self.value


def converted(value):
    if isinstance(value, bool):
        return Scalar(value)
    if isinstance(value, datetime):
        return Scalar({"$date": value.isoformat()})
    if isinstance(value, Decimal128):
        return Scalar({WRITTEN: str(value)})
    return convert(value)


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
    # Modules have the functions under their own names.
    for module in list(sys.modules.values()):
        if getattr(module, "neosqlite_json_loads", None) is load:
            module.neosqlite_json_loads = loads
        if getattr(module, "_convert_bytes_to_binary", None) is convert:
            module._convert_bytes_to_binary = converted
    return serve()


if __name__ == "__main__":
    sys.exit(main())
