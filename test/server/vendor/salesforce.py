"""Salesforce: 200 whatever becomes of the records, tokens that do not say how long."""

import base64
import json

from vendor.base import Refusal, Vendor, answer, is_email

REQUIRED = {"Contact": ["LastName"], "Lead": ["LastName", "Company"], "Account": ["Name"],
            "Opportunity": ["Name", "StageName", "CloseDate"]}
DATA = "/services/data/v62.0"


class Salesforce(Vendor):
    """The token's answer says where the API is.  "lock": so many records are locked."""

    name = "salesforce"
    routes = [("POST", "/services/oauth2/token", "token"), ("GET", DATA, "resources"),
              ("PATCH", DATA + "/composite/sobjects/{object}/{field}", "upsert"), ("PATCH", DATA + "/composite/sobjects", "update"),
              ("DELETE", DATA + "/composite/sobjects", "delete"), ("GET", DATA + "/sobjects/{object}/{field}/{value}", "find")]
    free = ("token",)

    def set_up(self):
        self.last = 0
        self.refresh_token = "refresh-1"
        self.locked = 0

    def set(self, lock=None, **changes):
        if lock is not None:
            self.locked = lock
        super().set(**changes)

    def is_authorized(self, call):
        return self.has_token(call)

    def token(self, call):
        given = dict(call.form())
        grant = given.get("grant_type")
        if grant == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            self.check_assertion(given["assertion"])
        elif self.revoked or given.get("client_id") != "consumer-key" or given.get("client_secret") != "consumer-secret":
            return answer({"error": "invalid_client", "error_description": "invalid client credentials"}, 400)
        elif grant == "refresh_token" and given.get("refresh_token") != self.refresh_token:
            return answer({"error": "invalid_grant", "error_description": "expired access/refresh token"}, 400)
        elif grant not in ("client_credentials", "refresh_token"):
            return answer({"error": "unsupported_grant_type", "error_description": "grant type not supported"}, 400)
        return answer({"access_token": self.issue_token(), "instance_url": "http://%s/salesforce" % call.headers["Host"],
                       "id": "https://login.salesforce.com/id/00D/005", "token_type": "Bearer", "issued_at": "1700000000000", "signature": "abc="})

    @staticmethod
    def check_assertion(assertion):
        claims = json.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "==="))
        if claims["iss"] != "consumer-key" or claims["sub"] != "ann@example.com" or claims["aud"] != "https://test.salesforce.com":
            raise Refusal(answer({"error": "invalid_grant", "error_description": "user hasn't approved this consumer"}, 400))

    def resources(self, _call):
        return answer({"sobjects": DATA + "/sobjects", "query": DATA + "/query"})

    # Collections

    def upsert(self, call, object, field):
        if not field.endswith("__c"):
            return self.error(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: %s" % field)
        return answer([self.upsert_one(object, field, record) for record in self.records(call, object)])

    def upsert_one(self, object, field, record):
        problem = self.problem(object, record, creating=True)
        if problem:
            return problem
        table = self.table(object)
        id = next((id for id, held in table.items() if held.get(field) == record[field]), None)
        created = id is None
        if created:
            self.last += 1
            id = "003000000000%03dAAA" % self.last
        table.setdefault(id, {}).update({name: value for name, value in record.items() if name != "attributes"})
        return {"id": id, "success": True, "errors": [], "created": created}

    def update(self, call):
        return answer([self.update_one(record) for record in self.records(call)])

    def update_one(self, record):
        table = self.table(record["attributes"]["type"])
        if record["id"] not in table:
            return self.failure("ENTITY_IS_DELETED", "entity is deleted")
        problem = self.problem(record["attributes"]["type"], record, creating=False)
        if problem:
            return problem
        table[record["id"]].update({name: value for name, value in record.items() if name not in ("attributes", "id")})
        return {"id": record["id"], "success": True, "errors": []}

    def records(self, call, object=None):
        body = call.json()
        if len(body["records"]) > 200 or any("attributes" not in record for record in body["records"]):
            raise Refusal(self.error(400, "JSON_PARSER_ERROR", "The HTTP entity body is required"))
        if object and any(record["attributes"]["type"] != object or "Id" in record for record in body["records"]):
            raise Refusal(self.error(400, "INVALID_FIELD", "Cannot specify Id in an upsert request"))
        return body["records"]

    def problem(self, object, record, creating):
        if self.locked:
            self.locked -= 1
            return self.failure("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        missing = [name for name in REQUIRED.get(object, []) if not record.get(name)] if creating else []
        if missing:
            return self.failure("REQUIRED_FIELD_MISSING", "Required fields are missing: %s" % missing, missing)
        if "Email" in record and not is_email(record["Email"]):
            return self.failure("INVALID_EMAIL_ADDRESS", "Email: invalid email address: %s" % record["Email"], ["Email"])
        return None

    @staticmethod
    def failure(code, message, fields=()):
        return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": list(fields)}]}

    def delete(self, call):
        results = []
        for id in call.query["ids"].split(","):
            object = next((name for name, table in self.tables.items() if id in table), None)
            if object is None:
                results.append(self.failure("ENTITY_IS_DELETED", "entity is deleted"))
            else:
                del self.tables[object][id]
                results.append({"id": id, "success": True, "errors": []})
        return answer(results)

    def find(self, _call, object, field, value):
        id = next((id for id, held in self.table(object).items() if str(held.get(field)) == value), None)
        if id is None:
            return self.error(404, "NOT_FOUND", "The requested resource does not exist")
        return answer({"attributes": {"type": object, "url": "%s/sobjects/%s/%s" % (DATA, object, id)}, "Id": id})

    @staticmethod
    def error(status, code, message):
        return answer([{"message": message, "errorCode": code}], status)

    def unauthorized(self):
        return self.error(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def throttled(self):
        return self.error(503, "SERVER_UNAVAILABLE", "The server is temporarily unavailable")


vendors = [Salesforce]
