"""Customer records: Attio."""

import email.utils
import time

from vendor.base import Vendor, answer, is_email


class Attio(Vendor):
    """One record a request; when it may go on is said as a date."""

    name = "attio"
    credentials = {"Authorization": "Bearer attio-key"}
    routes = [("PUT", "/v2/objects/{object}/records", "assert_record"),
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


vendors = [Attio]
