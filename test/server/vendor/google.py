"""Google: tokens for signed assertions, and two APIs that take them."""

import base64
import json
import re

from vendor.base import Refusal, Vendor, answer


class Google(Vendor):
    """What the APIs have in common."""

    scope = None
    free = ("token",)
    token_route = ("POST", "/token", "token")

    def is_authorized(self, call):
        return self.has_token(call)

    def token(self, call):
        given = dict(call.form())
        if given.get("grant_type") == "refresh_token":
            if given.get("refresh_token") != "1//refresh":
                return answer({"error": "invalid_grant", "error_description": "Token has been expired or revoked."}, 400)
        else:
            claims = json.loads(base64.urlsafe_b64decode(given["assertion"].split(".")[1] + "==="))
            if claims["iss"] != "robot@example.iam.gserviceaccount.com" or claims["exp"] - claims["iat"] > 3600 \
                    or claims["scope"] != "https://www.googleapis.com/auth/" + self.scope:
                return answer({"error": "invalid_grant", "error_description": "Invalid JWT"}, 400)
        return answer({"access_token": self.issue_token(), "expires_in": 3599, "token_type": "Bearer"})

    @staticmethod
    def error(code, status, message):
        return answer({"error": {"code": code, "message": message, "status": status}}, code)

    def unauthorized(self):
        return self.error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")

    def throttled(self):
        return self.error(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Write requests'.")

    def malformed(self):
        return self.error(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")


class DataManager(Google):
    """Says only that it has taken a request; a request with one bad member is refused."""

    name = "datamanager"
    scope = "datamanager"
    routes = [Google.token_route, ("POST", "/v1/audienceMembers:ingest", "ingest"), ("POST", "/v1/audienceMembers:remove", "remove"),
              ("GET", "/v1/requestStatus:retrieve", "status")]

    def ingest(self, call):
        return self.change(call, lambda audience, member: audience.update({member: True}))

    def remove(self, call):
        return self.change(call, lambda audience, member: audience.pop(member, None))

    def change(self, call, operate):
        body = call.json()
        if body.get("encoding") != "HEX" or len(body["audienceMembers"]) > 10000:
            return self.error(400, "INVALID_ARGUMENT", "There was a problem with the request.")
        members = [self.identifier(member) for member in body["audienceMembers"]]
        for destination in body["destinations"]:
            for member in members:
                operate(self.table(destination["productDestinationId"]), member)
        return answer({"requestId": "req-%d" % len(self.tables)})

    def identifier(self, member):
        (identifier,) = member["userData"]["userIdentifiers"]
        ((name, value),) = identifier.items()
        if name not in ("emailAddress", "phoneNumber") or not re.fullmatch("[0-9a-f]{64}", value):
            raise Refusal(self.error(400, "INVALID_ARGUMENT", "There was a problem with the request."))
        return value

    def status(self, _call):
        return self.error(400, "INVALID_ARGUMENT", "There was a problem with the request.")


class Sheets(Google):
    """Rows are known by their number; a request with one bad range is refused."""

    name = "sheets"
    scope = "spreadsheets"
    routes = [Google.token_route, ("GET", "/v4/spreadsheets/{id}", "spreadsheet"), ("GET", "/v4/spreadsheets/{id}/values/{cells}", "read"),
              ("POST", "/v4/spreadsheets/{id}/values/{cells}:append", "append"), ("POST", "/v4/spreadsheets/{id}/values:batchUpdate", "update")]

    def set_up(self):
        self.tables["People"] = {"1": ["key", "email", "plan"]}

    def rows(self, cells):
        match = re.fullmatch(r"'(\w+)'!.*", cells)
        if match is None or match[1] not in self.tables:
            raise Refusal(self.error(400, "INVALID_ARGUMENT", "Unable to parse range: %s" % cells))
        return self.tables[match[1]]

    def spreadsheet(self, _call, id):
        return answer({"spreadsheetId": id})

    def read(self, _call, id, cells):
        rows = self.rows(cells)
        last = max((int(number) for number in rows), default=0)
        keys = [rows.get(str(number), [])[:1] for number in range(1, last + 1)]
        return answer({"range": cells, "majorDimension": "ROWS", "values": keys})

    def append(self, call, id, cells):
        rows = self.rows(cells)
        values = call.json()["values"]
        self.check(values)
        last = max((int(number) for number in rows), default=0)
        for number, row in enumerate(values, last + 1):
            rows[str(number)] = row
        return answer({"spreadsheetId": id, "updates": {"updatedRows": len(values)}})

    def update(self, call, id):
        data = call.json()["data"]
        for one in data:
            self.check(one["values"])
        for one in data:
            rows = self.rows(one["range"])
            rows[re.search(r"!A(\d+)$", one["range"])[1]] = one["values"][0]
        return answer({"spreadsheetId": id, "totalUpdatedRows": len(data)})

    def check(self, values):
        if any(isinstance(value, (list, dict)) for row in values for value in row) or any("nonsense" in row for row in values):
            raise Refusal(self.error(400, "INVALID_ARGUMENT", "Invalid values: nonsense"))


vendors = [DataManager, Sheets]
