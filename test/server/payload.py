"""What a request asks for: the changes in its body, whatever its shape."""

import json

import history


class Change:
    """One record's change as it arrived.

    key is canonical JSON text for webhooks and the path for plain REST; data the
    parsed JSON, numbers as they were written (see history.parse_json).
    """

    def __init__(self, operation, key, data, idempotency_key):
        self.operation = operation
        self.key = key
        self.data = data
        self.idempotency_key = idempotency_key
        self.hash = history.body_hash(history.canonical([operation, key, data]).encode("utf-8"))


def parse_changes(method, path, headers, body):
    """The changes in a request; none if it is nothing that we know."""
    if method == "DELETE":
        return [Change("delete", path, None, headers.get("idempotency-key"))]
    try:
        content = history.parse_json(body.decode("utf-8"))
    except ValueError:
        return []
    if isinstance(content, dict) and "metadata" in content:
        return webhook_changes(content)
    if method in ("PUT", "PATCH"):
        return [Change("update", path, content, headers.get("idempotency-key"))]
    if method == "POST":
        return posted_changes(path, headers, content)
    return []


def run_of(body):
    """The id of the run that a webhook request says it belongs to, or None."""
    try:
        metadata = json.loads(body.decode("utf-8"))["metadata"]
        return metadata["run_id"]
    except (ValueError, KeyError, TypeError):
        return None


def webhook_changes(content):
    if "records" in content:
        return [webhook_change(record, record.get("data")) for record in content["records"]]
    return [webhook_change(content["metadata"], content.get("data"))]


def webhook_change(facts, data):
    return Change(facts.get("operation"), history.canonical(facts.get("key")), data,
                  facts.get("idempotency_key"))


def posted_changes(path, headers, content):
    """A POST to a collection: a record, or a list of them, each with an id of its own."""
    records = content if isinstance(content, list) else [content]
    return [Change("create", "%s/%s" % (path, history.canonical(
                record.get("id", record.get("key"))) if isinstance(record, dict) else number),
                record, None if len(records) > 1 else headers.get("idempotency-key"))
            for number, record in enumerate(records)]
