#!/usr/bin/env python3
"""Checks a proof, or two heads, of a Lucid manager. Written from `data/proof-format.md` alone, with nothing but Python's standard library.

    verify.py FILE [--manager-key HEX] [--agent-dir DIR]      one line for each check, then the verdict
    verify.py --self-test                                     the vectors of RFC 8032 and RFC 6962

Exit status: 0 good, 3 consistent, 1 wrong (or no readable document), 2 wrong usage. FILE may be `-`; DIR is the folder of the node's agent, with its receipts.

A model for who writes their own. It has five parts: Ed25519, trees, the document (how its fields are read, and which bytes they become), the folder of an agent, and the checks.
"""

import argparse
import hashlib
import json
import os
import re
import sys
from fractions import Fraction

SLOT_SECONDS = 30
SLOTS_PER_DAY = 2_880
GOOD, CONSISTENT, WRONG, USAGE = 0, 3, 1, 2


def sha256(data):
    return hashlib.sha256(data).digest()


# Ed25519, RFC 8032 section 5.1. Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z on the curve -x^2 + y^2 = 1 + d x^2 y^2.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(a, b):
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g = 2 * a[3] * b[3] * D % P
    h = 2 * a[2] * b[2] % P
    x, y, z, t = f - e, f + e, h + g, h - g
    return x * t % P, y * z % P, t * z % P, x * y % P


def multiply(scalar, point):
    total = NEUTRAL
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def decode_point(data):
    """The point of 32 bytes, or None where they are no canonical encoding of one."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * SQRT_OF_MINUS_1 % P
    if x * x % P != square or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def encode_point(point):
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = decode_point(bytes([0x58]) + bytes([0x66]) * 31)


def signature_holds(key, message, signature):
    """Whether `signature` (R, s) satisfies s B = R + k A. Strict: s below L, both points in their canonical encoding."""
    a, r, s = decode_point(key), signature[:32], int.from_bytes(signature[32:], "little")
    if a is None or decode_point(r) is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L
    minus_a = (P - a[0], a[1], a[2], P - a[3])
    return encode_point(add(multiply(s, BASE), multiply(k, minus_a))) == r


# Trees, RFC 6962; the paths are checked as RFC 9162, sections 2.1.3.2 and 2.1.4.2, says.


def leaf_hash(data):
    return sha256(b"\0" + data)


def node_hash(left, right):
    return sha256(b"\1" + left + right)


def included(leaf, index, size, path, root):
    """Whether the hash of a leaf, at `index` of `size` leaves, is under `root` by `path`."""
    if index >= size:
        return False
    place, last, so_far = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            so_far = node_hash(step, so_far)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            so_far = node_hash(so_far, step)
        place, last = place >> 1, last >> 1
    return last == 0 and so_far == root


def extends(first_size, first_root, second_size, second_root, path):
    """Whether the tree of `first_size` leaves (at least 1) is the beginning of the larger one of `second_size`."""
    if not 0 < first_size < second_size or not path:
        return False
    if first_size & (first_size - 1) == 0:
        path = [first_root, *path]
    place, last = first_size - 1, second_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, step)
        place, last = place >> 1, last >> 1
    return last == 0 and first == first_root and second == second_root


# The document. A kind of value has `read`, from JSON (a refusal names the place), and `bytes`, its canonical bytes.


class Refused(Exception):
    """The document does not read. The text names the place and what is wrong with it."""


class Integer:
    """A JSON integer or, where `text`, a text of digits."""

    def __init__(self, bits, signed=False, text=False):
        self.size, self.signed, self.text = bits // 8, signed, text
        self.lowest = -(2 ** (bits - 1)) if signed else 0
        self.highest = 2 ** (bits - signed) - 1

    def read(self, value, at):
        if self.text:
            if type(value) is not str or not re.fullmatch(r"0|-?[1-9][0-9]{0,38}", value, re.ASCII):
                raise Refused(f"{at} is not a text of digits")
            value = int(value)
        if type(value) is not int:  # a bool is an int to `isinstance`, and not here
            raise Refused(f"{at} is not an integer")
        if not self.lowest <= value <= self.highest:
            raise Refused(f"{at} is out of range")
        return value

    def bytes(self, value):
        return value.to_bytes(self.size, "big", signed=self.signed)


class Flag:
    def read(self, value, at):
        if type(value) is not bool:
            raise Refused(f"{at} is neither true nor false")
        return value

    def bytes(self, value):
        return bytes([value])


class Bytes:
    def __init__(self, size):
        self.size = size

    def read(self, value, at):
        if type(value) is not str or not re.fullmatch(f"[0-9a-f]{{{2 * self.size}}}", value):
            raise Refused(f"{at} is not lower-case hex of {self.size} bytes")
        return bytes.fromhex(value)

    def bytes(self, value):
        return value


class Text:
    """Any text or, where `words` are given, one of them."""

    def __init__(self, *words, longest=2**16 - 1):
        self.words, self.longest = words, longest

    def read(self, value, at):
        if type(value) is not str or (self.words and value not in self.words):
            raise Refused(f"{at} is not {' or '.join(self.words) or 'a text'}")
        try:
            fits = len(value.encode()) <= self.longest
        except UnicodeEncodeError:  # half of a surrogate pair
            fits = False
        if not fits:
            raise Refused(f"{at} is not a text that can be hashed")
        return value

    def bytes(self, value):
        data = value.encode()
        return len(data).to_bytes(2, "big") + data


class State(Text):
    def __init__(self):
        super().__init__("pending", "valid", "invalid")

    def bytes(self, value):
        return bytes([self.words.index(value)])


class Option:
    def __init__(self, kind):
        self.kind = kind

    def read(self, value, at):
        return None if value is None else self.kind.read(value, at)

    def bytes(self, value):
        return b"\0" if value is None else b"\1" + self.kind.bytes(value)


class List:
    """Canonical only as a track: the number of its runs as u16, then the runs."""

    def __init__(self, kind):
        self.kind = kind

    def read(self, value, at):
        if type(value) is not list:
            raise Refused(f"{at} is not a list")
        return [self.kind.read(one, f"{at}[{index}]") for index, one in enumerate(value)]

    def bytes(self, value):
        return len(value).to_bytes(2, "big") + b"".join(map(self.kind.bytes, value))


class Record:
    """An object with exactly these fields; its canonical bytes are theirs, in this order, after the tag if it has one."""

    def __init__(self, tag=None, **kinds):
        self.tag, self.kinds = tag, kinds

    def read(self, value, at):
        if type(value) is not dict:
            raise Refused(f"{at} is not an object")
        for name in value.keys() - self.kinds.keys():
            raise Refused(f"{at} has a field that it must not have: {name!r}")
        for name in self.kinds.keys() - value.keys():
            raise Refused(f"{at} lacks the field {name}")
        return {name: kind.read(value[name], f"{at}.{name}") for name, kind in self.kinds.items()}

    def bytes(self, value):
        fields = b"".join(kind.bytes(value[name]) for name, kind in self.kinds.items())
        return fields if self.tag is None else tagged(self.tag, fields)


class Loose(Record):
    """An object of which these fields count, whatever else it has; `otherwise` is what absent ones are. It has no canonical bytes."""

    def __init__(self, otherwise, **kinds):
        super().__init__(**kinds)
        self.otherwise = otherwise

    def read(self, value, at):
        if type(value) is dict:
            value = {name: one for name, one in {**self.otherwise, **value}.items() if name in self.kinds}
        return super().read(value, at)


def tagged(tag, data):
    return tag.encode("ascii") + b"\0" + data


U8, U16, U32, U64, I64 = Integer(8), Integer(16), Integer(32), Integer(64), Integer(64, signed=True)
AMOUNT, LARGE_AMOUNT = Integer(64, signed=True, text=True), Integer(128, signed=True, text=True)
HASH = KEY = Bytes(32)
SIGNATURE = Bytes(64)
TRACK = List(U16)
REPORTS = Record(day=U32, count=U32, hash=HASH)

LEAF = Record(
    "lucid/poot-leaf/v1",
    blind=Bytes(16), epoch=U32, last_slot=U32, node_id=Text(), window_slots=U16, window_hash=HASH, proven=U16, observed=U16,
    inputs=Record(
        proven=U16, observed=U16, interruptions=U16, samples=U16, samples_within=U16, challenged=U16, answered=U16, outputs_expected=Flag(),
    ),
    state=State(), score_hundredths=U16, confidence_hundredths=U8, multiplier_grown_slots=U32,
    payer=Option(Record(pool_id=Text(), cost_per_hour=AMOUNT, reward_per_hour=AMOUNT, currency=Text("USDT", "LUCID"))),
    accrual_pico=LARGE_AMOUNT,
    reports=Option(REPORTS),
)  # fmt: skip
WINDOW = Record("lucid/poot-window/v1", proven=TRACK, observed=TRACK, strained=TRACK, challenged=TRACK, answered=TRACK)
PLACE = Record(seq=U64, hash=HASH)
HEAD = Record(
    "lucid/poot-head/v1",
    chain=Text(), incarnation=U32, restored_from=Option(HASH), sequence=U64, epoch=U32, last_slot=U32, slots_per_epoch=U32, closed_at_ms=I64, gap=Flag(),
    params=Record(
        version=U16, window_slots=U16, max_age_slots=U16, min_observation_seconds=U32, min_score_hundredths=U16,
        output_weight_percent=U8, stability_weight_percent=U8, resources_weight_percent=U8, max_multiplier_hundredths=U16,
    ),
    valid=U32, pending=U32, invalid=U32, leaves_at=Option(U32), root=HASH, previous=HASH, history=HASH, audit=PLACE, ledger=PLACE, manager_key=KEY,
)  # fmt: skip
SUCCEEDED = Record("lucid/key-succession/v1", manager_id=Text(), old_key=KEY, new_key=KEY, from_sequence=U64, at_ms=I64)
SUCCESSION = Record(**SUCCEEDED.kinds, signed_by_old=SIGNATURE, signed_by_new=SIGNATURE)
SIGNED_HEAD = Record(head=HEAD, signature=SIGNATURE)
DOCUMENTS = {
    "lucid-poot-proof/1": Record(
        format=Text(), node_id=Text(), state=State(), score=Text(), confidence=Text(), head=HEAD, signature=SIGNATURE,
        leaf=LEAF, leaf_index=U64, path=List(HASH), window=Option(WINDOW), successions=List(SUCCESSION),
    ),
    "lucid-poot-consistency/1": Record(
        format=Text(), first=SIGNED_HEAD, second=SIGNED_HEAD,
        inclusion=Option(List(HASH)), consistency=Option(List(HASH)), successions=List(SUCCESSION),
    ),
}  # fmt: skip


def parsed(data):
    """The JSON of some bytes, no field of it present twice."""

    def once(pairs):
        names = dict(pairs)
        if len(names) != len(pairs):
            raise Refused("an object has a field twice")
        return names

    def integer(text):
        if text == "-0" or len(text) > 20:
            raise Refused(f"{text[:40]} is not an integer of this format")
        return int(text)

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_int=integer)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Refused(f"it is not JSON: {error}") from None


def read(data):
    """The document of some bytes, every field of it known, present once, of its type and in its range."""
    document = parsed(data)
    name = document.get("format") if type(document) is dict else None
    if type(name) is not str or name not in DOCUMENTS:
        raise Refused("its format is none that is known here")
    return DOCUMENTS[name].read(document, "document")


# The folder of an agent: which key its manager has, and what that manager signed for of the node's reports.

NODE = Loose({"successions": []}, node_id=Text(), manager_id=Text(), manager_key=KEY, successions=List(SUCCESSION))
RECEIPT = Loose(
    {"whole": False, "history": 1},
    day=U32, whole=Flag(), history=U32, incarnation=U64, seq=U64, body=Text(longest=2**32), signature=Text(),
)  # fmt: skip
HISTORY = Loose({"receipts": []}, receipts=List(RECEIPT))
ANSWER = Loose({"durable_reports": None, "last_day": None}, durable_reports=Option(REPORTS), last_day=Option(REPORTS))


class Told:
    """What the manager acknowledged of a day: all of its reports (`whole`), or as far as they were durable."""

    def __init__(self, reports, receipt):
        self.day, self.count, self.hash = reports["day"], reports["count"], reports["hash"]
        self.whole, self.history = receipt["whole"], receipt["history"]

    def fits(self, counted):
        same = (self.count, self.hash) == (counted["count"], counted["hash"])
        return same or (not self.whole and self.count < counted["count"])


class Agent:
    """Raises `Refused` where the folder does not read, or is none."""

    def __init__(self, folder):
        def file(name, kind, otherwise):
            path = os.path.join(folder, name)
            try:
                with open(path, "rb") as opened:
                    return kind.read(parsed(opened.read()), "the file")
            except FileNotFoundError:
                return otherwise
            except OSError as error:
                raise Refused(f"{path} cannot be read: {error}") from None
            except Refused as refusal:
                raise Refused(f"{path}: {refusal}") from None

        self.node = file("node.json", NODE, None)
        if self.node is None:
            raise Refused(f"there is no enrolled node in {folder}")
        self.successions = self.node["successions"]
        receipts = file("history.json", HISTORY, {"receipts": []})["receipts"]
        found = [(receipt["day"], self.told(receipt)) for receipt in receipts]
        self.all_told = [told for _, told in found if told is not None]
        self.days_left_aside = [day for day, told in found if told is None]

    def told(self, receipt):
        """None where it is not this manager's word on that day."""
        signature, body = receipt["signature"], receipt["body"].encode()
        if not re.fullmatch(r"[0-9a-f]{128}", signature):
            return None
        # Little-endian, and the tag is a text as the others: not canonical bytes.
        texts = (b"lucid/report-answer/v1", self.node["manager_id"].encode(), self.node["node_id"].encode())
        message = b"".join(len(text).to_bytes(2, "little") + text for text in texts)
        message += receipt["incarnation"].to_bytes(8, "little") + receipt["seq"].to_bytes(8, "little") + sha256(body)
        keys = [self.node["manager_key"]] + [one["old_key"] for one in self.successions]
        if not any(signature_holds(key, message, bytes.fromhex(signature)) for key in keys):
            return None
        try:
            answer = ANSWER.read(parsed(body), "body")
        except Refused:
            return None
        reports = answer["last_day" if receipt["whole"] else "durable_reports"]
        return Told(reports, receipt) if reports is not None and reports["day"] == receipt["day"] else None

    def continued(self, successions):
        """The successions of a document, with those behind them of which only the folder knows."""
        if not successions:
            return self.successions
        behind = [one["old_key"] == successions[-1]["new_key"] for one in self.successions]
        return successions + (self.successions[behind.index(True) :] if True in behind else [])


# The checks. Each gives the sentence of what it found, or raises Wrong; what could not be made raises NotChecked.


class Wrong(Exception):
    pass


class NotChecked(Exception):
    pass


def demand(holds, otherwise):
    if not holds:
        raise Wrong(otherwise)


def head_hash(head):
    return sha256(HEAD.bytes(head))


def two_decimals(hundredths):
    return f"{hundredths // 100}.{hundredths % 100:02}"


def check_summary(proof, _key):
    leaf = proof["leaf"]
    demand(proof["node_id"] == leaf["node_id"], "the node is not the one of the leaf")
    demand(proof["state"] == leaf["state"], "the state is not the one of the leaf")
    demand(proof["score"] == two_decimals(leaf["score_hundredths"]), "the score is not the one of the leaf")
    demand(proof["confidence"] == two_decimals(leaf["confidence_hundredths"]), "the confidence is not the one of the leaf")
    return f"node {proof['node_id']!r} is {proof['state']} with score {proof['score']} and confidence {proof['confidence']}"


def check_epoch(proof, _key):
    leaf, head, reports = proof["leaf"], proof["head"], proof["leaf"]["reports"]
    demand(leaf["epoch"] == head["epoch"] and leaf["last_slot"] == head["last_slot"], "leaf and head are of different epochs")
    demand(head["epoch"] <= head["last_slot"], "the epoch ends before it begins")
    demand(not head["gap"] and head["leaves_at"] == head["epoch"], "the head has no leaves of this epoch")
    slots = head["last_slot"] - head["epoch"] + 1
    demand(slots <= head["slots_per_epoch"], "the epoch is longer than one")
    demand(leaf["proven"] <= leaf["observed"] <= slots, "more slots are proven or observed than the epoch has")
    if reports is not None:
        demand(reports["day"] < head["epoch"] // SLOTS_PER_DAY, "the day of the reports had not ended")
        demand(reports["count"] > 0, "a hash over no reports")
    return f"slots {head['epoch']} to {head['last_slot']}"


def slots_of(track, length):
    """A track as a list of a flag for each slot, oldest first."""
    demand(sum(track) == length, "the runs of a track do not add up to the window")
    demand(0 not in track[1:] and track != [0], "a track has a run of nothing")
    return [turn % 2 == 1 for turn, run in enumerate(track) for _ in range(run)]


def check_evidence(proof, _key):
    leaf, inputs, params = proof["leaf"], proof["leaf"]["inputs"], proof["head"]["params"]
    if proof["window"] is None:
        raise NotChecked("the evidence is not part of the document; the inputs are those of the leaf")
    demand(leaf["window_slots"] <= min(8_640, params["max_age_slots"]), "the window is too long")
    # First that the tracks are some: a list that is none may have no canonical bytes.
    tracks = {name: slots_of(track, leaf["window_slots"]) for name, track in proof["window"].items()}
    demand(sha256(WINDOW.bytes(proof["window"])) == leaf["window_hash"], "this is not the window that the leaf names")
    for part, whole in (("proven", "observed"), ("strained", "proven"), ("challenged", "observed"), ("answered", "challenged")):
        demand(all(b for a, b in zip(tracks[part], tracks[whole]) if a), f"a slot is {part} and not {whole}")
    demand(all(tracks["observed"][:1]), "the window begins with a slot that is not observed")

    of_observed = [proven for proven, observed in zip(tracks["proven"], tracks["observed"]) if observed]
    counted = {name: sum(tracks[name]) for name in ("proven", "observed", "challenged", "answered")}
    counted["interruptions"] = sum(before and not after for before, after in zip(of_observed, of_observed[1:]))
    counted["samples"] = counted["proven"]
    counted["samples_within"] = counted["proven"] - sum(tracks["strained"])
    for name, count in counted.items():
        demand(count == inputs[name], f"{name} is {inputs[name]}, and the evidence has {count}")
    demand(inputs["observed"] <= params["window_slots"], "more slots are observed than the window may have")

    length = leaf["last_slot"] - leaf["epoch"] + 1
    if not (leaf["window_slots"] < length and inputs["observed"] == params["window_slots"]):
        for name in ("proven", "observed"):
            # `max`: of a window shorter than the epoch it is all of it, and an epoch that ends before it begins has nothing.
            count = sum(tracks[name][max(0, leaf["window_slots"] - length):])
            demand(count == leaf[name], f"{name} of the epoch is {leaf[name]}, and the evidence has {count}")
    return f"{counted['proven']} of {counted['observed']} observed slots are proven, with {counted['interruptions']} interruptions"


def factors(inputs, params):
    """(fraction, weight in percent) of each factor."""
    answered, samples = min(inputs["answered"], inputs["challenged"]), inputs["samples"]
    yield Fraction(1 + answered, 2 + inputs["challenged"]), params["output_weight_percent"] if inputs["outputs_expected"] else 0
    yield Fraction(max(0, 24 - inputs["interruptions"]), 24), params["stability_weight_percent"]
    yield Fraction(min(inputs["samples_within"], samples), samples) if samples else Fraction(1), params["resources_weight_percent"]


def check_score(proof, _key):
    leaf, inputs, params = proof["leaf"], proof["leaf"]["inputs"], proof["head"]["params"]
    demand(params["version"] == 1, "the parameters have a version that is not known here")
    observed, challenged = inputs["observed"], inputs["challenged"]
    score = Fraction(10_000 * min(inputs["proven"], observed), max(observed, 1))
    for fraction, weight in factors(inputs, params):
        demand(weight <= 100, "a factor weighs more than 100 percent")
        score *= 1 - Fraction(weight, 100) * (1 - fraction)
    # `round` of a fraction goes to the nearest integer, and of two to the even one.
    demand(round(score) == leaf["score_hundredths"], f"the inputs give the score {two_decimals(round(score))}")
    confidence = round(Fraction(70 * min(observed, SLOTS_PER_DAY), SLOTS_PER_DAY) + Fraction(30 * challenged, challenged + 10))
    demand(confidence == leaf["confidence_hundredths"], f"the inputs give the confidence {two_decimals(confidence)}")
    if observed == 0 or SLOT_SECONDS * observed < params["min_observation_seconds"]:
        state = "pending"
    else:
        state = "valid" if leaf["score_hundredths"] >= params["min_score_hundredths"] else "invalid"
    demand(state == leaf["state"], f"the inputs make the node {state}")
    return "score, confidence and state follow from the inputs"


def check_credits(proof, _key):
    leaf, payer = proof["leaf"], proof["leaf"]["payer"]
    grown = leaf["multiplier_grown_slots"]
    demand(grown <= 20_160, "the multiplier has grown for more than seven days")
    credits = 0
    if payer is not None and leaf["state"] != "invalid":
        most = max(100, proof["head"]["params"]["max_multiplier_hundredths"])
        multiplier = Fraction(2_016_000 + (most - 100) * grown, 2_016_000)
        worth = SLOT_SECONDS * leaf["proven"] * payer["reward_per_hour"] * 1_000_000 * leaf["score_hundredths"]
        credits = worth * multiplier // (3_600 * 10_000)
    demand(credits == leaf["accrual_pico"], f"the inputs give credits of {credits} pico-units")
    return f"{credits} pico-units follow from time, price, score and multiplier"


def check_tree(proof, _key):
    head, leaf = proof["head"], leaf_hash(LEAF.bytes(proof["leaf"]))
    size = head["valid"] + head["pending"] + head["invalid"]
    demand(included(leaf, proof["leaf_index"], size, proof["path"], head["root"]), "the leaf is not in the tree of the head")
    return f"leaf {proof['leaf_index']} of {size} (counted from 0) is under the root of the head"


def heads_of(document):
    """The signed heads of either document."""
    return [document] if "leaf" in document else [document["first"], document["second"]]


def check_signature(document, _key):
    for signed in heads_of(document):
        head = signed["head"]
        message = tagged("lucid/poot-head-signature/v1", head_hash(head))
        demand(signature_holds(head["manager_key"], message, signed["signature"]), f"the signature of head {head['sequence']} does not hold")
    return "signed by " + heads_of(document)[-1]["head"]["manager_key"].hex()


def check_history(document, _key):
    first, second = document["first"]["head"], document["second"]["head"]
    inclusion, consistency = document["inclusion"], document["consistency"]
    demand(first["chain"] == second["chain"], "the heads are of different chains")
    if document["first"] == document["second"]:
        demand(inclusion is None and consistency is None, "one head needs no paths")
        return "both are the same head"
    demand(first["sequence"] < second["sequence"] and first["incarnation"] <= second["incarnation"], "the first head is not before the second")
    demand(inclusion is not None, "the path from the first head is missing")
    leaf, size = leaf_hash(head_hash(first)), second["sequence"]
    demand(included(leaf, first["sequence"], size, inclusion, second["history"]), "the first head is not in the history of the second")
    if size == first["sequence"] + 1:
        demand(second["previous"] == head_hash(first), "the second head does not name the first one as the one before it")
    if first["sequence"] == 0:
        demand(consistency is None, "an empty history needs no path")
    else:
        demand(consistency is not None, "the path between the histories is missing")
        holds = extends(first["sequence"], first["history"], size, second["history"], consistency)
        demand(holds, "the history of the first head is not the beginning of the history of the second")
    return f"head {first['sequence']} and all before it are in the history of head {second['sequence']}"


def check_signer(document, key):
    successions = document["successions"]
    for one in successions:
        message = SUCCEEDED.bytes(one)
        for who in ("old", "new"):
            demand(signature_holds(one[f"{who}_key"], message, one[f"signed_by_{who}"]), f"a succession is not signed by its {who} key")
    for before, after in zip(successions, successions[1:]):
        demand(before["new_key"] == after["old_key"], "the successions do not follow from each other")
        demand(before["from_sequence"] <= after["from_sequence"], "a key takes over before its predecessor did")
    if successions:
        keys = [successions[0]["old_key"]] + [one["new_key"] for one in successions]
        begins = [0] + [one["from_sequence"] for one in successions]
        ends = begins[1:] + [float("inf")]
        for signed in heads_of(document):
            head = signed["head"]
            terms = zip(keys, begins, ends)
            in_office = any(who == head["manager_key"] and begin <= head["sequence"] < end for who, begin, end in terms)
            demand(in_office, f"the signer of head {head['sequence']} was not in office")
    else:
        keys = [signed["head"]["manager_key"] for signed in heads_of(document)]
        demand(key is None or all(one == key for one in keys), "the key that was given is not the signer's")
    if key is None:
        raise NotChecked("no key was given, so anybody may have signed this")
    demand(key in keys, "the key that was given is none of the manager's keys")
    return "the signer is the manager whose key was given"


def check_receipt(proof, agent):
    head, counted = proof["head"], proof["leaf"]["reports"]
    today = head["epoch"] // SLOTS_PER_DAY
    valid = [told for told in agent.all_told if told.history == head["incarnation"]]

    def demand_none_since(first):
        for told in valid:
            left_out = first <= told.day < today
            demand(not left_out, f"the leaf leaves out day {told.day}, of which the manager acknowledged {told.count} reports")

    def no_receipt(day):
        of_day = [told for told in agent.all_told if told.day == day]
        if of_day:
            return f"the receipt of day {day} and the head are of two lives of the history, one of which went on openly from an older copy"
        if day in agent.days_left_aside:
            return f"the receipt of day {day} is not this manager's word on it"
        return f"the agent has no receipt of day {day}"

    if counted is None:
        if head["epoch"] % SLOTS_PER_DAY:
            first = today * SLOTS_PER_DAY
            raise NotChecked(f"reports are counted in the first epoch after their day, the one of slot {first}, and this is a later one")
        demand_none_since(today - 1)
        raise NotChecked(f"reports are counted in the first epoch after their day; the leaf counts none, and {no_receipt(today - 1)}")
    demand_none_since(counted["day"] + 1)
    of_day = [told for told in valid if told.day == counted["day"]]
    if not of_day:
        raise NotChecked(no_receipt(counted["day"]))
    for told in of_day:
        demand(told.fits(counted), f"the manager acknowledged {told.count} reports, and the leaf counts {counted['count']} or other ones")
    most = max(told.count for told in of_day)
    rest = "all" if most == counted["count"] else "more, as it may: the receipt was given before the last ones"
    return f"{most} reports of day {counted['day']} were acknowledged, and the leaf counts {rest}"


CHECKS_OF_PROOF = {
    "summary": check_summary,
    "epoch": check_epoch,
    "evidence": check_evidence,
    "score": check_score,
    "credits": check_credits,
    "tree": check_tree,
    "signature": check_signature,
    "signer": check_signer,
}
CHECKS_OF_HEADS = {"history": check_history, "signature": check_signature, "signer": check_signer}


def verify(data, key, agent=None, say=print):
    """Makes all checks of a document, says what they found, and returns the exit status."""
    try:
        document = read(data)
    except Refused as refusal:
        say(f"document: WRONG: {refusal}")
        say("verdict: wrong")
        return WRONG
    checks = dict(CHECKS_OF_PROOF if "leaf" in document else CHECKS_OF_HEADS)
    if agent is not None:
        document["successions"] = agent.continued(document["successions"])
        if "leaf" in document:
            if agent.node["node_id"] != document["node_id"]:
                say(f"--agent-dir: its node is {agent.node['node_id']!r}, and the proof is of {document['node_id']!r}")
                return USAGE
            checks["receipt"] = lambda proof, _key: check_receipt(proof, agent)
    verdict = GOOD
    for name, check in checks.items():
        try:
            say(f"{name}: good: {check(document, key)}")
        except NotChecked as reason:
            say(f"{name}: not checked: {reason}")
            verdict = verdict if verdict == WRONG else CONSISTENT
        except Wrong as reason:
            say(f"{name}: WRONG: {reason}")
            verdict = WRONG
    say("verdict: " + {GOOD: "good", CONSISTENT: "consistent", WRONG: "wrong"}[verdict])
    return verdict


# Self-test: published vectors, and every path of every small tree.

ED25519_VECTORS = [  # RFC 8032, section 7.1: key, message, signature
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]
TREE_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
TREE_ROOTS = [  # of the first 1 to 8 of these leaves: the vectors of the Certificate Transparency implementations of RFC 6962
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def cut(count):
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def root_of(leaves):
    if len(leaves) <= 1:
        return leaf_hash(leaves[0]) if leaves else sha256(b"")
    return node_hash(root_of(leaves[: cut(len(leaves))]), root_of(leaves[cut(len(leaves)):]))


def path_of(index, leaves):
    """RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = cut(len(leaves))
    return path_of(index, leaves[:k]) + [root_of(leaves[k:])] if index < k else path_of(index - k, leaves[k:]) + [root_of(leaves[:k])]


def consistency_of(size, leaves, whole=True):
    """RFC 6962, section 2.1.2."""
    if size == len(leaves):
        return [] if whole else [root_of(leaves)]
    k = cut(len(leaves))
    if size <= k:
        return consistency_of(size, leaves[:k], whole) + [root_of(leaves[k:])]
    return consistency_of(size - k, leaves[k:], False) + [root_of(leaves[:k])]


def self_test():
    def expect(holds, what):
        if not holds:
            sys.exit(f"self-test: WRONG: {what}")

    for key, message, signature in ((bytes.fromhex(text) for text in vector) for vector in ED25519_VECTORS):
        expect(signature_holds(key, message, signature), f"the RFC 8032 vector of {key.hex()}")
        for place in range(64):
            changed = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
            expect(not signature_holds(key, message, changed), f"a signature that was changed at byte {place}")
        expect(not signature_holds(key, message + b"!", signature), "a message that was changed")
        larger = (int.from_bytes(signature[32:], "little") + L).to_bytes(32, "little")
        expect(not signature_holds(key, message, signature[:32] + larger), "an s beyond L")
    for y, name in ((P, "y = p"), (P + 1, "y = p + 1"), (1 | 1 << 255, "a negative zero"), (2, "no point")):
        expect(decode_point(y.to_bytes(32, "little")) is None, f"an encoding that has to be refused: {name}")

    leaves = [bytes.fromhex(leaf) for leaf in TREE_LEAVES]
    for size, root in enumerate(TREE_ROOTS, 1):
        expect(root_of(leaves[:size]).hex() == root, f"the RFC 6962 root of {size} leaves")
    leaves = [bytes([n]) for n in range(20)]
    roots = [root_of(leaves[:size]) for size in range(len(leaves) + 1)]
    for size in range(1, len(leaves) + 1):
        for index in range(size):
            path, hashed = path_of(index, leaves[:size]), leaf_hash(leaves[index])
            expect(included(hashed, index, size, path, roots[size]), f"leaf {index} of {size}")
            for wrong in (index + 1, index - 1):
                expect(wrong < 0 or not included(hashed, wrong, size, path, roots[size]), f"leaf {index} of {size} elsewhere")
            expect(not included(hashed, index, size, path + [hashed], roots[size]), f"leaf {index} of {size} by a longer path")
            expect(not path or not included(hashed, index, size, path[:-1], roots[size]), f"leaf {index} of {size} by a shorter path")
        for first in range(1, size):
            path = consistency_of(first, leaves[:size])
            expect(extends(first, roots[first], size, roots[size], path), f"the first {first} of {size}")
            expect(not extends(first, roots[first - 1], size, roots[size], path), f"another beginning of {size}")
            expect(not extends(first, roots[first], size, roots[size], path + [roots[0]]), f"the first {first} of {size} by a longer path")
            expect(not extends(first, roots[first], size, roots[size], path[:-1]), f"the first {first} of {size} by a shorter path")
    print("self-test: good")
    return GOOD


def main():
    parser = argparse.ArgumentParser(description="Checks a proof, or two heads, of a Lucid manager.")
    parser.add_argument("file", nargs="?", help="the document, or - for standard input")
    parser.add_argument("--manager-key", metavar="HEX", help="the manager's key, from somewhere else than the document")
    parser.add_argument("--agent-dir", metavar="DIR", help="folder of the node's agent: the manager's key, and what it acknowledged to the node")
    parser.add_argument("--self-test", action="store_true", help="check this program by published vectors")
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    if options.file is None:
        parser.error("a file is needed")
    try:
        key = None if options.manager_key is None else KEY.read(options.manager_key, "the key")
        agent = None if options.agent_dir is None else Agent(options.agent_dir)
    except Refused as refusal:
        parser.error(str(refusal))
    if key is None and agent is not None:
        key = agent.node["manager_key"]
    try:
        if options.file == "-":
            return verify(sys.stdin.buffer.read(), key, agent)
        with open(options.file, "rb") as file:
            return verify(file.read(), key, agent)
    except OSError as error:
        print(f"document: WRONG: it cannot be read: {error}\nverdict: wrong")
        return WRONG


if __name__ == "__main__":
    sys.exit(main())
