"""Events and profiles: Amplitude, Mixpanel, Segment."""

import json

from vendor.base import Vendor, answer, basic, text


class Segment(Vendor):
    """Takes anything with 200, wrong credentials too; a repeated messageId is dropped."""

    name = "segment"
    routes = [("POST", "/v1/batch", "batch")]

    def set_up(self):
        self.seen = set()

    def batch(self, call):
        messages = call.json()["batch"]
        if len(call.body) > 500 * 1024:
            return answer({"success": False, "message": "Request body is too large"}, 400)
        if self.revoked or call.headers.get("Authorization") != basic("segment-key", ""):
            return answer({"success": True})
        for message in messages[:2500]:
            if message["messageId"] not in self.seen:
                self.seen.add(message["messageId"])
                self.keep(message)
        return answer({"success": True})

    def keep(self, message):
        if message["type"] == "identify":
            self.table("users").setdefault(message["userId"], {}).update(message["traits"])
        elif message["type"] == "group":
            self.table("groups").setdefault(message["groupId"], {}).update(message["traits"])
        else:
            self.table("events")[message["messageId"]] = message

    def malformed(self):
        return answer({"success": False, "message": "Invalid JSON"}, 400)


class Mixpanel(Vendor):
    """The token is in each profile update, a refused one fails them all, and the
    import answers 400 to what it has imported in part."""

    name = "mixpanel"
    routes = [("POST", "/engage", "engage"), ("POST", "/import", "import_events")]

    def is_authorized(self, call):
        if call.path == "/engage":
            return True
        return not self.revoked and call.headers.get("Authorization") == basic("mixpanel-user", "mixpanel-secret")

    def engage(self, call):
        updates = call.json()
        if not isinstance(updates, list) or len(updates) > 2000:
            return self.profile_fault(call, "data, must be a list of at most 2000 updates")
        for update in updates:
            if self.revoked or update.get("$token") != "mixpanel-token":
                return self.profile_fault(call, "token, missing or invalid", 401)
            if not isinstance(update.get("$distinct_id"), str) or not update["$distinct_id"]:
                return self.profile_fault(call, "$distinct_id, missing or empty")
            if "$set" in update and update["$set"].get("$email") == "nonsense":
                return self.profile_fault(call, "$set, invalid value of $email")
        for update in updates:
            if "$delete" in update:
                self.table("profiles").pop(update["$distinct_id"], None)
            else:
                self.table("profiles").setdefault(update["$distinct_id"], {}).update(update["$set"])
        return answer({"error": None, "status": 1}) if call.query.get("verbose") == "1" else answer(1)

    @staticmethod
    def profile_fault(call, fault, status=200):
        if call.query.get("verbose") == "1":
            return answer({"error": fault, "status": 0}, status)
        return answer(0, status)

    def import_events(self, call):
        failed = []
        events = call.json()
        if len(events) > 2000:
            return answer({"code": 413, "error": "request exceeds max limit of 2000 events", "status": "Request Entity Too Large"}, 413)
        for index, event in enumerate(events):
            properties = event.get("properties", {})
            if not event.get("event"):
                failed.append({"index": index, "insert_id": properties.get("$insert_id"), "field": "event",
                               "message": "'event' is missing or empty"})
            elif not isinstance(properties.get("time"), int):
                failed.append({"index": index, "insert_id": properties.get("$insert_id"), "field": "properties.time",
                               "message": "'properties.time' is invalid: must be specified as seconds since epoch"})
            else:
                self.table("events")[properties["$insert_id"]] = event
        if failed and call.query.get("strict") == "1":
            return answer({"code": 400, "error": "some data points in the request failed validation",
                           "failed_records": failed, "num_records_imported": len(events) - len(failed),
                           "status": "Bad Request"}, 400)
        return answer({"code": 200, "num_records_imported": len(events), "status": "OK"})

    def unauthorized(self):
        return answer({"code": 401, "error": "Unauthorized, invalid credentials", "status": "Unauthorized"}, 401)

    def throttled(self):
        return answer({"code": 429, "error": "Project exceeded rate limits", "status": "Too Many Requests"}, 429)


class Amplitude(Vendor):
    """The key is in the body, JSON is in a form field, and one bad event fails them all."""

    name = "amplitude"
    routes = [("POST", "/identify", "identify"), ("POST", "/batch", "batch")]

    def is_authorized(self, call):
        if call.path == "/identify":
            return not self.revoked and dict(call.form()).get("api_key") == "amplitude-key"
        return not self.revoked and call.json().get("api_key") == "amplitude-key"

    def identify(self, call):
        fields = dict(call.form())
        identifications = json.loads(fields["identification"])
        for identification in identifications:
            if not isinstance(identification.get("user_id"), str):
                return text("missing_event_user_or_device_id", 400)
            if identification["user_properties"].get("plan") == "nonsense":
                return text("invalid_user_properties", 400)
        for identification in identifications:
            self.table("users").setdefault(identification["user_id"], {}).update(identification["user_properties"])
        return text("success")

    def batch(self, call):
        events = call.json()["events"]
        invalid = [index for index, event in enumerate(events) if event.get("event_type") == ""]
        missing = [index for index, event in enumerate(events) if event.get("event_type") is None]
        if invalid or missing:
            return answer({"code": 400, "error": "Request missing required field" if missing else "Invalid field values on some events",
                           "missing_field": None, "events_with_invalid_fields": {"event_type": invalid} if invalid else {},
                           "events_with_missing_fields": {"event_type": missing} if missing else {}}, 400)
        for event in events:
            self.table("events")[event["insert_id"]] = event
        return answer({"code": 200, "events_ingested": len(events), "payload_size_bytes": len(call.body),
                       "server_upload_time": 1750000000000})

    def unauthorized(self):
        return answer({"code": 400, "error": "Invalid API key: wrong", "missing_field": "api_key"}, 400)

    def throttled(self):
        return answer({"code": 429, "error": "Too many requests for some devices and users", "eps_threshold": 1000,
                       "throttled_users": {}, "throttled_devices": {}, "throttled_events": []}, 429)


vendors = [Segment, Mixpanel, Amplitude]
