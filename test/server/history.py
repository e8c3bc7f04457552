"""Checks on a recorder's history: what must hold, whatever went wrong.

check() takes the history, the table that the destination ended with, and what to
expect, and returns the violations as text, none being the good case.  The names
are those of the invariants in doc/testing.md.
"""

import decimal
import hashlib
import json


class Number(decimal.Decimal):
    """A JSON number that remembers how it was written: 1.50 is not 1.5."""

    def __new__(cls, text):
        number = super().__new__(cls, text)
        number.text = text
        return number


def parse_json(text):
    """Parses JSON so that canonical() gives every number back as it was."""
    return json.loads(text, parse_float=Number, parse_int=Number)


def canonical(value):
    """JSON text with sorted keys and without spaces; numbers as they were written."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, dict):
        return "{%s}" % ",".join(
            "%s:%s" % (json.dumps(name, ensure_ascii=False), canonical(value[name])) for name in sorted(value))
    if isinstance(value, list):
        return "[%s]" % ",".join(canonical(item) for item in value)
    return json.dumps(value, ensure_ascii=False)


def body_hash(body):
    return hashlib.sha256(body).hexdigest()


def check(history, table, expectation):
    """All checks.  The expectation is an object, every member optional:

    table       {key: data} that the destination must hold now
    failed      keys (canonical text) that may differ, since their rows failed
    crashes     how often a process was killed: each explains duplicates
    runs        {run id: {"confirmed": records, "complete": were that all of them?}};
                the history is that of these runs and no others
    """
    violations = []
    if "table" in expectation:
        violations += no_loss(table, expectation["table"], set(expectation.get("failed", [])))
    violations += same_change_same_key(history)
    violations += order(history)
    if not expectation.get("crashes"):
        violations += duplicates_explained(history)
    if "runs" in expectation:
        violations += belong_to_runs(history, expectation["runs"])
    return violations[:50]


def no_loss(table, expected, failed):
    """I1: the destination holds what the model says, except for failed rows."""
    expected = {canonical(parse_json(key)) if key.startswith("{") else key: data
                for key, data in expected.items()}
    for key in sorted(set(expected) | set(table)):
        if key in failed:
            continue
        if key not in table:
            yield "I1: lost: %s" % key
        elif key not in expected:
            yield "I1: should be gone: %s" % key
        elif canonical(table[key]) != canonical(expected[key]):
            yield "I1: differs: %s: %s, expected %s" % (key, canonical(table[key]), canonical(expected[key]))


def same_change_same_key(history):
    """I2, I3: a key never comes with other bytes; a body never under two keys."""
    bodies = {}
    for request in history:
        key = request.headers.get("idempotency-key")
        if key is None or request.body is None:
            continue
        first = bodies.setdefault(key, request)
        if first.body_hash != request.body_hash or first.path != request.path:
            yield "I3: requests %d and %d have one idempotency key and different content" % (
                first.number, request.number)
    changes = {}
    for request in history:
        for change in request.changes:
            if change.idempotency_key is None:
                continue
            first = changes.setdefault(change.idempotency_key, (request.number, change.hash))
            if first[1] != change.hash:
                yield "I3: requests %d and %d carry different changes under one key" % (first[0], request.number)


def belong_to_runs(history, runs):
    """I2, I6: requests belong to runs, which confirm what was acknowledged, once."""
    sent = {run: set() for run in runs}
    acknowledged = {run: set() for run in runs}
    for request in history:
        if request.body is None:
            continue
        if request.run_id not in runs:
            yield "I2: request %d belongs to no run: %s" % (request.number, request.run_id)
            continue
        keys = [change.idempotency_key for change in request.changes]
        sent[request.run_id].update(keys)
        if request.answered and 200 <= request.status < 300:
            acknowledged[request.run_id].update(keys)
    for run, facts in runs.items():
        if facts["confirmed"] > len(acknowledged[run]):
            yield "I6: %s counts %d confirmed records, the destination acknowledged %d" % (
                run, facts["confirmed"], len(acknowledged[run]))
        if facts["complete"] and facts["confirmed"] != len(sent[run]):
            yield "I6: %s sent %d records and counts %d as confirmed" % (
                run, len(sent[run]), facts["confirmed"])


def order(history):
    """I4: for one record, requests never overlap and never go back to an older key."""
    open_until = {}
    versions = {}
    for request in history:
        for change in request.changes:
            previous = open_until.get(change.key)
            if previous is not None and previous[1] is not None and request.started < previous[1]:
                yield "I4: requests %d and %d for %s overlap" % (previous[0], request.number, change.key)
            open_until[change.key] = (request.number, request.finished)
            if change.idempotency_key is None:
                continue
            seen = versions.setdefault(change.key, [])
            if change.idempotency_key in seen[:-1]:
                yield "I4: request %d brings back an older version of %s" % (request.number, change.key)
            elif not seen or seen[-1] != change.idempotency_key:
                seen.append(change.idempotency_key)


def duplicates_explained(history):
    """I5: what was acknowledged in full is not sent again under the same key."""
    acknowledged = {}
    for request in history:
        for change in request.changes:
            if change.idempotency_key in acknowledged:
                yield "I5: request %d repeats %s, which request %d had acknowledged" % (
                    request.number, change.key, acknowledged[change.idempotency_key])
        if request.answered and request.rule is None and 200 <= request.status < 300:
            for change in request.changes:
                if change.idempotency_key is not None:
                    acknowledged[change.idempotency_key] = request.number
