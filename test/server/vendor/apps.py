"""Tables, payments and messages: Airtable, Stripe, Slack."""

import json
import re

from vendor.base import Vendor, answer


class Airtable(Vendor):
    """Ten records a request, all or none of them; a throttled client is to wait 30 seconds."""

    name = "airtable"
    credentials = {"Authorization": "Bearer airtable-token"}
    routes = [("GET", "/v0/meta/whoami", "whoami"), ("PATCH", "/v0/{base}/{table}", "upsert"), ("DELETE", "/v0/{base}/{table}/{id}", "delete"),
              ("GET", "/v0/{base}/{table}", "list")]

    def set_up(self):
        self.last = 0

    def upsert(self, call, base, table):
        request = call.json()
        rows, (key,) = [record["fields"] for record in request["records"]], request["performUpsert"]["fieldsToMergeOn"]
        if len(rows) > 10:
            return self.error(422, "INVALID_RECORDS", "You can update up to 10 records at a time.")
        if len({row[key] for row in rows}) < len(rows):
            return self.error(422, "INVALID_RECORDS", "Cannot upsert the same record twice in a request")
        for row in rows:
            if row.get("plan") == "nonsense":
                return self.error(422, "INVALID_MULTIPLE_CHOICE_OPTIONS",
                                  'Insufficient permissions to create new select option ""nonsense""')
        records, created = [], []
        for row in rows:
            ids = [id for id, fields in self.table(table).items() if fields.get(key) == row[key]]
            if not ids:
                self.last += 1
                ids = ["rec%014d" % self.last]
                created += ids
            self.table(table).setdefault(ids[0], {}).update(row)
            records.append({"id": ids[0], "createdTime": "2026-01-01T00:00:00.000Z", "fields": self.table(table)[ids[0]]})
        return answer({"records": records, "createdRecords": created,
                       "updatedRecords": [record["id"] for record in records if record["id"] not in created]})

    def delete(self, _call, base, table, id):
        if self.table(table).pop(id, None) is None:
            return answer({"error": "NOT_FOUND"}, 404)
        return answer({"id": id, "deleted": True})

    def list(self, call, base, table):
        match = re.fullmatch(r'\{([^}]+)\}=("(?:[^"\\]|\\.)*"|[0-9.]+)', call.query.get("filterByFormula", ""))
        if match is None:
            return self.error(422, "INVALID_FILTER_BY_FORMULA", "The formula for filtering records is invalid")
        found = [{"id": id, "fields": fields} for id, fields in self.table(table).items()
                 if fields.get(match[1]) == json.loads(match[2])]
        return answer({"records": found[:int(call.query["maxRecords"])]})

    def whoami(self, _call):
        return answer({"id": "usrL2PNC5o3H4lBEi"})

    @staticmethod
    def error(status, type, message):
        return answer({"error": {"type": type, "message": message}}, status)

    def unauthorized(self):
        return self.error(401, "AUTHENTICATION_REQUIRED", "Authentication required")

    def throttled(self):
        # The header is not Airtable's: without it the test would wait for 30 seconds.
        return answer({"errors": [{"error": "RATE_LIMIT_REACHED", "message": "Rate limit exceeded. Please try again later"}]},
                      429, {"Retry-After": "1"})


class Stripe(Vendor):
    """Forms with brackets; what an idempotency key was answered is answered again, a failure too."""

    name = "stripe"
    credentials = {"Authorization": "Bearer stripe-key"}
    routes = [("POST", "/v1/customers", "create"), ("POST", "/v1/customers/{id}", "update"), ("DELETE", "/v1/customers/{id}", "delete"),
              ("GET", "/v1/customers/search", "search"), ("GET", "/v1/customers", "list")]

    def set_up(self):
        self.last = 0
        self.stored = {}        # of idempotency keys: request, answer
        self.breaks = 0         # so many requests are carried out, and answered with a 500

    def create(self, call):
        return self.once(call, lambda fields: self.store(None, fields))

    def update(self, call, id):
        if id not in self.table("customers"):
            return self.missing(id)
        return self.once(call, lambda fields: self.store(id, fields))

    def once(self, call, change):
        key, request = call.headers["Idempotency-Key"], (call.path, call.body)
        if key in self.stored:
            before, (body, status) = self.stored[key]
            if before != request:
                return self.error(400, "idempotency_error", None, "Keys for idempotent requests can only be used with the same parameters "
                                  "they were first used with.")
            return answer(body, status, {"Idempotent-Replayed": "true"})
        fields = call.form()
        for name, value in fields:
            if name == "email" and "@" not in value:
                # What is refused before anything is done is not stored.
                return self.error(400, "invalid_request_error", "email_invalid", "Invalid email address: %s" % value)
        result = change(fields), 200
        if self.breaks > 0:
            self.breaks -= 1
            result = {"error": {"type": "api_error", "message": "An unknown error occurred"}}, 500
        self.stored[key] = request, result
        return answer(*result)

    def store(self, id, fields):
        if id is None:
            self.last += 1
            id = "cus_%08d" % self.last
        customer = self.table("customers").setdefault(id, {"metadata": {}})
        for name, value in fields:
            parts = re.findall(r"[^\[\]]+", name)
            target = customer
            for part in parts[:-1]:
                target = target.setdefault(part, {})
            target[parts[-1]] = value
        return dict(customer, id=id, object="customer")

    def delete(self, _call, id):
        if self.table("customers").pop(id, None) is None:
            return self.missing(id)
        return answer({"id": id, "object": "customer", "deleted": True})

    def search(self, call):
        match = re.fullmatch(r'metadata\["(\w+)"\]:"(.*)"', call.query["query"])
        if match is None:
            return self.error(400, "invalid_request_error", None, "We were unable to parse your search query.")
        return self.found("search_result", lambda customer: customer["metadata"].get(match[1]) == match[2])

    def list(self, call):
        return self.found("list", lambda customer: call.query.get("email") in (None, customer.get("email")))

    def found(self, object, fits):
        data = [dict(customer, id=id, object="customer") for id, customer in self.table("customers").items() if fits(customer)]
        return answer({"object": object, "data": data[:1], "has_more": False, "url": "/v1/customers"})

    def missing(self, id):
        return self.error(404, "invalid_request_error", "resource_missing", "No such customer: '%s'" % id)

    @staticmethod
    def error(status, type, code, message, headers=None):
        return answer({"error": {"type": type, "code": code, "message": message}}, status, headers)

    def unauthorized(self):
        return self.error(401, "invalid_request_error", None, "Invalid API Key provided: sk_test_****")

    def throttled(self):
        return self.error(429, "invalid_request_error", "rate_limit", "Request rate limit exceeded.", {"Stripe-Should-Retry": "true"})


class Slack(Vendor):
    """200 whatever happened; a message is known by its channel and its ts."""

    name = "slack"
    credentials = {"Authorization": "Bearer xoxb-token"}
    routes = [("POST", "/chat.postMessage", "post"), ("POST", "/chat.update", "update"), ("POST", "/chat.delete", "delete"),
              ("POST", "/auth.test", "auth_test")]

    def set_up(self):
        self.last = 0

    def post(self, call):
        message = call.json()
        if not message.get("channel", "").startswith("C"):
            return self.error("channel_not_found")
        if not message.get("text"):
            return self.error("no_text")
        self.last += 1
        ts = "1503435956.%06d" % self.last
        self.table("messages")["%s/%s" % (message["channel"], ts)] = message["text"]
        return answer({"ok": True, "channel": message["channel"], "ts": ts, "message": {"type": "message", "text": message["text"], "ts": ts}})

    def update(self, call):
        message = call.json()
        id = "%s/%s" % (message["channel"], message["ts"])
        if id not in self.table("messages"):
            return self.error("message_not_found")
        self.table("messages")[id] = message["text"]
        return answer({"ok": True, "channel": message["channel"], "ts": message["ts"], "text": message["text"]})

    def delete(self, call):
        message = call.json()
        if self.table("messages").pop("%s/%s" % (message["channel"], message["ts"]), None) is None:
            return self.error("message_not_found")
        return answer({"ok": True, "channel": message["channel"], "ts": message["ts"]})

    def auth_test(self, _call):
        return answer({"ok": True, "team": "Example", "user": "bot"})

    @staticmethod
    def error(word):
        return answer({"ok": False, "error": word})

    def unauthorized(self):
        return self.error("invalid_auth")

    def throttled(self):
        return answer({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": "1"})


vendors = [Airtable, Slack, Stripe]
