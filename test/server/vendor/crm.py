"""Customer records: Attio, HubSpot, Intercom."""

import email.utils
import time

from vendor.base import Refusal, Vendor, answer, is_email


class Attio(Vendor):
    """One record a request; when it may go on is said as a date."""

    name = "attio"
    credentials = {"Authorization": "Bearer attio-key"}
    routes = [("PUT", "/v2/objects/{object}/records", "assert_record"), ("POST", "/v2/objects/{object}/records/query", "query"),
              ("DELETE", "/v2/objects/{object}/records/{id}", "delete_record"), ("GET", "/v2/self", "self")]

    def set_up(self):
        self.last = 0

    def assert_record(self, call, object):
        attribute = call.query.get("matching_attribute")
        values = call.json()["data"]["values"]
        if attribute not in values:
            return self.error(400, "invalid_request_error", "missing_value",
                              "The matching attribute \"%s\" has no value." % attribute)
        for address in values.get("email_addresses") or []:
            if not is_email(address):
                return self.error(400, "invalid_request_error", "validation_type",
                                  "An invalid value was passed to attribute with slug \"email_addresses\".")
        records = self.table(object)
        id = next((id for id, record in records.items() if record.get(attribute) == values[attribute]), None)
        if id is None:
            self.last += 1
            id = "00000000-0000-4000-8000-%012d" % self.last
        records.setdefault(id, {}).update(values)
        return answer({"data": {"id": {"workspace_id": "w", "object_id": object, "record_id": id}, "values": records[id]}})

    def query(self, call, object):
        (attribute, value), = call.json()["filter"].items()
        found = [id for id, record in self.table(object).items() if value in (record.get(attribute), *(record.get(attribute) or []))]
        return answer({"data": [{"id": {"workspace_id": "w", "object_id": object, "record_id": id}} for id in found]})

    def delete_record(self, call, object, id):
        if self.table(object).pop(id, None) is None:
            return self.error(404, "invalid_request_error", "not_found", "Record with ID \"%s\" was not found." % id)
        return answer({})

    def self(self, _call):
        return answer({"active": True, "workspace_name": "Example"})

    @staticmethod
    def error(status, type, code, message, headers=None):
        return answer({"status_code": status, "type": type, "code": code, "message": message}, status, headers)

    def unauthorized(self):
        return self.error(401, "auth_error", "unauthorized", "The access token is not valid.")

    def throttled(self):
        return self.error(429, "rate_limit_error", "rate_limit_exceeded", "Rate limit exceeded, please try again later",
                          {"Retry-After": email.utils.formatdate(time.time() + 2, usegmt=True)})


class HubSpot(Vendor):
    """Batches; a 207 that leaves out what failed, out of order; ids are needed to archive."""

    name = "hubspot"
    credentials = {"Authorization": "Bearer hubspot-token"}
    routes = [("POST", "/crm/v3/objects/{object}/batch/upsert", "upsert"), ("POST", "/crm/v3/objects/{object}/batch/read", "read"),
              ("POST", "/crm/v3/objects/{object}/batch/archive", "archive"), ("GET", "/account-info/v3/details", "details")]

    def set_up(self):
        self.last = 500
        self.names_traces = True    # whether results repeat the objectWriteTraceId

    def upsert(self, call, object):
        inputs = self.inputs(call)
        if any(not isinstance(value, str) for row in inputs for value in row["properties"].values()):
            return self.error(400, "Invalid input JSON: Cannot deserialize value of type `java.lang.String`", "VALIDATION_ERROR")
        unknown = {name for row in inputs for name in row["properties"] if name.startswith("unknown")}
        if unknown:
            return self.error(400, "Property values were not valid: Property \"%s\" does not exist" % min(unknown), "VALIDATION_ERROR")
        results, errors = [], []
        for row in inputs:
            if "email" in row["properties"] and not is_email(row["properties"]["email"]):
                errors.append({"status": "error", "category": "VALIDATION_ERROR",
                               "message": "Property values were not valid: Email address %s is invalid" % row["properties"]["email"],
                               "context": {"objectWriteTraceId": [row["objectWriteTraceId"]]}})
            else:
                results.append(self.write(object, row))
        results.reverse()
        body = {"status": "COMPLETE", "results": results, "startedAt": "2026-01-01T00:00:00Z", "completedAt": "2026-01-01T00:00:00Z"}
        if errors:
            body.update(numErrors=len(errors), errors=errors)
        return answer(body, 207 if errors else 200)

    def write(self, object, row):
        table = self.table(object)
        id = self.find(object, row["idProperty"], row["id"])
        created = id is None
        if created:
            self.last += 1
            id = str(self.last)
        table.setdefault(id, {row["idProperty"]: row["id"]}).update(row["properties"])
        # E-mail addresses come back in lower case.
        properties = {name: value.lower() if name == "email" else value for name, value in table[id].items()}
        result = {"id": id, "new": created, "properties": dict(properties, hs_object_id=id), "archived": False}
        return dict(result, objectWriteTraceId=row["objectWriteTraceId"]) if self.names_traces else result

    def find(self, object, name, value):
        return next((id for id, record in self.table(object).items() if record.get(name, "").lower() == value.lower()), None)

    def read(self, call, object):
        name = call.json()["idProperty"]
        wanted = [row["id"] for row in self.inputs(call)]
        found = {value: self.find(object, name, value) for value in wanted}
        results = [{"id": id, "properties": {name: self.table(object)[id][name], "hs_object_id": id}} for id in found.values() if id]
        missing = [value for value, id in found.items() if id is None]
        errors = [{"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some objects, they may be deleted or not exist.",
                   "context": {"ids": missing}}] if missing else []
        return answer({"status": "COMPLETE", "results": results, "numErrors": len(errors), "errors": errors}, 207 if errors else 200)

    def archive(self, call, object):
        for row in self.inputs(call):
            self.table(object).pop(row["id"], None)
        return answer(status=204)

    def inputs(self, call):
        inputs = call.json()["inputs"]
        ids = [row["id"].lower() for row in inputs]
        if len(inputs) > 100:
            raise Refusal(self.error(400, "Batch size is limited to 100", "VALIDATION_ERROR"))
        if len(ids) != len(set(ids)):
            raise Refusal(self.error(400, "Duplicate IDs found in batch input", "VALIDATION_ERROR"))
        return inputs

    def details(self, _call):
        return answer({"portalId": 123456, "accountType": "STANDARD", "timeZone": "US/Eastern"})

    @staticmethod
    def error(status, message, category, **more):
        return answer({"status": "error", "message": message, "category": category,
                       "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf", **more}, status)

    def unauthorized(self):
        return self.error(401, "Authentication credentials not found.", "INVALID_AUTHENTICATION")

    def throttled(self):
        return self.error(429, "You have reached your ten_secondly_rolling limit.", "RATE_LIMITS", errorType="RATE_LIMIT",
                          policyName="TEN_SECONDLY_ROLLING")


class Intercom(Vendor):
    """One contact a request, by an id of its own; a conflict names the other contact in its message alone."""

    name = "intercom"
    credentials = {"Authorization": "Bearer intercom-token"}
    routes = [("POST", "/contacts", "create_contact"), ("PUT", "/contacts/{id}", "update_contact"), ("DELETE", "/contacts/{id}", "delete_contact"),
              ("GET", "/contacts/find_by_external_id/{external_id}", "find_contact"), ("POST", "/companies", "write_company"),
              ("GET", "/companies", "find_company"), ("DELETE", "/companies/{id}", "delete_company"), ("GET", "/me", "me")]

    def set_up(self):
        self.last = 0

    def new_id(self):
        self.last += 1
        return "5ba682d2%016x" % self.last

    def create_contact(self, call):
        contact = self.contact(call)
        other = self.other(None, contact)
        if other:
            return self.error(409, "conflict", "A contact matching those details already exists with id=%s" % other)
        id = self.new_id()
        self.table("contacts")[id] = contact
        return answer(dict(contact, type="contact", id=id))

    def update_contact(self, call, id):
        if id not in self.table("contacts"):
            return self.error(404, "not_found", "User Not Found")
        contact = self.contact(call)
        other = self.other(id, contact)
        if other:
            return self.error(409, "conflict", "A contact matching those details already exists with id=%s" % other)
        self.table("contacts")[id].update(contact)
        return answer(dict(self.table("contacts")[id], type="contact", id=id))

    def delete_contact(self, _call, id):
        if self.table("contacts").pop(id, None) is None:
            return self.error(404, "not_found", "User Not Found")
        return answer({"type": "contact", "id": id, "deleted": True})

    def find_contact(self, _call, external_id):
        for id, contact in self.table("contacts").items():
            if contact.get("external_id") == external_id:
                return answer(dict(contact, type="contact", id=id))
        return self.error(404, "not_found", "User Not Found")

    def contact(self, call):
        if call.headers.get("Intercom-Version") is None:
            raise Refusal(self.error(400, "intercom_version_invalid", "The requested version could not be found"))
        contact = call.json()
        if not isinstance(contact.get("external_id"), str):
            raise Refusal(self.error(400, "parameter_invalid", "external_id must be a string"))
        if contact.get("email") is not None and not is_email(contact["email"]):
            raise Refusal(self.error(400, "parameter_invalid", "email is invalid"))
        return contact

    def other(self, own_id, contact):
        return next((id for id, record in self.table("contacts").items() if id != own_id and any(
            contact.get(name) is not None and record.get(name) == contact[name] for name in ("external_id", "email"))), None)

    def write_company(self, call):
        company = call.json()
        if not isinstance(company.get("company_id"), str):
            return self.error(400, "parameter_invalid", "company_id must be a string")
        if company.get("website") == "nonsense":
            return self.error(400, "parameter_invalid", "website is invalid")
        companies = self.table("companies")
        id = next((id for id, record in companies.items() if record["company_id"] == company["company_id"]), None) or self.new_id()
        companies.setdefault(id, {}).update(company)
        return answer(dict(companies[id], type="company", id=id))

    def find_company(self, call):
        for id, company in self.table("companies").items():
            if company["company_id"] == call.query.get("company_id"):
                return answer(dict(company, type="company", id=id))
        return self.error(404, "company_not_found", "Company Not Found")

    def delete_company(self, _call, id):
        if self.table("companies").pop(id, None) is None:
            return self.error(404, "company_not_found", "Company Not Found")
        return answer({"id": id, "object": "company", "deleted": True})

    def me(self, _call):
        return answer({"type": "admin", "id": "1"})

    @staticmethod
    def error(status, code, message, headers=None):
        return answer({"type": "error.list", "request_id": "b3aal9t39vq7lrqtfr40",
                       "errors": [{"code": code, "message": message}]}, status, headers)

    def unauthorized(self):
        return self.error(401, "unauthorized", "Access Token Invalid")

    def throttled(self):
        return self.error(429, "rate_limit_exceeded", "Exceeded rate limit of 83 in 10_seconds",
                          {"X-RateLimit-Limit": "83", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 2)})


vendors = [Attio, HubSpot, Intercom]
