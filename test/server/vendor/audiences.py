"""Advertising audiences: Meta."""

import json
import re

from vendor.base import Vendor, answer


class Meta(Vendor):
    """Only counts what is invalid; errors are 400, throttling and wrong tokens too.
    Everything is a form, the body of DELETE as well."""

    name = "meta"
    routes = [("POST", "/{audience}/users", "add"), ("DELETE", "/{audience}/users", "remove"), ("GET", "/me", "me")]
    unhashed = ("EXTERN_ID", "MADID")

    def is_authorized(self, call):
        return not self.revoked and dict(call.form(), **call.query).get("access_token") == "meta-token"

    def add(self, call, audience):
        return self.change(call, audience, lambda members, id, row: members.update({id: row}))

    def remove(self, call, audience):
        return self.change(call, audience, lambda members, id, row: members.pop(id, None))

    def change(self, call, audience, operate):
        payload = json.loads(dict(call.form())["payload"])
        if len(payload["data"]) > 10000:
            return self.error(400, 100, "Param payload[data] has too many elements.")
        invalid = 0
        for values in payload["data"]:
            row = dict(zip(payload["schema"], values))
            if len(values) != len(payload["schema"]) or not self.is_valid(row):
                invalid += 1
            else:
                operate(self.table(audience), row["EXTERN_ID"], row)
        return answer({"audience_id": audience, "session_id": "1", "num_received": len(payload["data"]),
                       "num_invalid_entries": invalid, "invalid_entry_samples": {}})

    def is_valid(self, row):
        return all(value == "" or name in self.unhashed or re.fullmatch("[0-9a-f]{64}", value) for name, value in row.items()) \
            and row.get("EXTERN_ID") not in (None, "", "nonsense")

    def me(self, _call):
        return answer({"name": "System user", "id": "1"})

    @staticmethod
    def error(status, code, message, **more):
        return answer({"error": dict({"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "A"}, **more)}, status)

    def unauthorized(self):
        return self.error(400, 190, "Error validating access token: Session has expired.", error_subcode=463)

    def throttled(self):
        return self.error(400, 80003, "There have been too many calls to this ad account.", is_transient=True)


vendors = [Meta]
