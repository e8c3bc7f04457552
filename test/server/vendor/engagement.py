"""Messaging: Braze, Customer.io, Iterable, Klaviyo, Mailchimp."""

import hashlib

from vendor.base import Refusal, Vendor, answer, basic, is_email


class Braze(Vendor):
    """Errors name an index into one of three arrays, in an answer that says "success"."""

    name = "braze"
    credentials = {"Authorization": "Bearer braze-key"}
    routes = [("POST", "/users/track", "track"), ("POST", "/users/delete", "delete")]

    def track(self, call):
        arrays = {name: call.json().get(name) for name in ("attributes", "events", "purchases")}
        arrays = {name: rows for name, rows in arrays.items() if rows}
        if not arrays:
            return answer({"message": "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."}, 400)
        if any(len(rows) > 75 for rows in arrays.values()):
            return answer({"message": "Each of 'attributes', 'events' and 'purchases' is limited to 75 objects."}, 400)
        errors = []
        for index, row in enumerate(arrays.get("attributes", [])):
            fault = self.fault(row)
            if fault:
                errors.append({"type": fault, "input_array": "attributes", "index": index})
            else:
                self.table("users").setdefault(row["external_id"], {}).update(row)
        body = {"message": "success", "attributes_processed": len(arrays.get("attributes", [])) - len(errors)}
        if errors:
            body["errors"] = errors
        return answer(body, 201)

    @staticmethod
    def fault(row):
        if not isinstance(row.get("external_id"), str):
            return "'external_id' must be a string"
        if "email" in row and not is_email(row["email"]):
            return "'email' is not a valid email address"
        return None

    def delete(self, call):
        ids = call.json().get("external_ids", [])
        if not 0 < len(ids) <= 50 or not all(isinstance(id, str) for id in ids):
            return answer({"message": "'external_ids' must be an array of up to 50 strings"}, 400)
        for id in ids:
            self.table("users").pop(id, None)
        return answer({"deleted": len(ids), "message": "success"}, 201)

    def unauthorized(self):
        return answer({"message": "Invalid API key"}, 401)

    def throttled(self):
        return answer({"message": "Rate limit exceeded"}, 429, {"X-Ratelimit-Retry-After": "1"})


class CustomerIo(Vendor):
    """Errors name an index into the batch, in a 207."""

    name = "customerio"
    credentials = {"Authorization": basic("site", "customerio-key")}
    routes = [("POST", "/api/v2/batch", "batch"), ("GET", "/api/v1/accounts/region", "region")]

    def batch(self, call):
        if len(call.body) > 500 * 1024:
            return answer({"errors": [{"reason": "invalid", "field": "", "message": "batch is too large"}]}, 413)
        errors = []
        for index, item in enumerate(call.json()["batch"]):
            fault = self.fault(item)
            if fault:
                errors.append(dict(fault, batch_index=index))
            elif item["action"] == "delete":
                self.table("people").pop(self.key(item), None)
            else:
                self.table("people").setdefault(self.key(item), {}).update(item.get("attributes", {}))
        return answer({"errors": errors}, 207) if errors else answer({})

    @staticmethod
    def key(item):
        return "%s:%s" % next(iter(item["identifiers"].items()))

    @staticmethod
    def fault(item):
        if item.get("type") != "person" or item.get("action") not in ("identify", "delete"):
            return {"reason": "invalid", "field": "action", "message": "action is not supported"}
        identifiers = item.get("identifiers", {})
        if len(identifiers) != 1 or not set(identifiers) <= {"id", "email", "cio_id"}:
            return {"reason": "required", "field": "identifiers", "message": "identifiers must be one of id, email, cio_id"}
        email = item.get("attributes", {}).get("email")
        if email is not None and not is_email(email):
            return {"reason": "invalid", "field": "attributes.email", "message": "email is invalid"}
        return None

    def region(self, _call):
        return answer({"url": "track.customer.io", "data_center": "us", "environment_id": 1})

    def unauthorized(self):
        return answer({"meta": {"error": "Unauthorized request"}}, 401)

    def throttled(self):
        return answer({"meta": {"error": "Too many requests"}}, 429)


class Klaviyo(Vendor):
    """JSON:API, a revision in each request, errors as a list with pointers."""

    name = "klaviyo"
    credentials = {"Authorization": "Klaviyo-API-Key klaviyo-key"}
    routes = [("POST", "/api/profile-import", "import_profile"), ("GET", "/api/accounts", "accounts")]
    attributes = {"email", "phone_number", "external_id", "anonymous_id", "first_name", "last_name",
                  "organization", "locale", "title", "image", "location", "properties"}

    def set_up(self):
        self.last = 0

    def import_profile(self, call):
        self.check_headers(call)
        data = call.json()["data"]
        if data.get("type") != "profile":
            raise Refusal(self.error(400, "invalid", "The payload provided in the request is invalid.", "/data/type"))
        attributes = data["attributes"]
        for name, value in attributes.items():
            if name not in self.attributes:
                raise Refusal(self.error(400, "invalid", "'%s' is not a valid field for the resource 'profile'." % name,
                                         "/data/attributes/" + name))
            if name == "external_id" and not isinstance(value, str):
                raise Refusal(self.error(400, "invalid", "'external_id' must be a string", "/data/attributes/external_id"))
            if name == "email" and not is_email(value):
                raise Refusal(self.error(400, "invalid", "Invalid email address", "/data/attributes/email"))
        if not {"email", "phone_number", "external_id"} & set(attributes):
            raise Refusal(self.error(400, "invalid", "One of email, phone_number or external_id is required.", "/data/attributes"))
        profiles = self.table("profiles")
        id = next((id for id, profile in profiles.items() for name in ("external_id", "email", "phone_number")
                   if attributes.get(name) is not None and profile.get(name) == attributes[name]), None)
        created = id is None
        if created:
            self.last += 1
            id = "01KLAVIYO%05d" % self.last
        profile = profiles.setdefault(id, {})
        properties = dict(profile.get("properties", {}), **attributes.get("properties", {}))
        profile.update(attributes, properties=properties)
        return answer({"data": {"type": "profile", "id": id, "attributes": profile}}, 201 if created else 200)

    def accounts(self, call):
        self.check_headers(call)
        return answer({"data": [{"type": "account", "id": "AbC123"}]})

    def check_headers(self, call):
        if call.headers.get("revision") is None:
            raise Refusal(self.error(400, "invalid", "A 'revision' header is required.", None))

    @staticmethod
    def error(status, code, detail, pointer, headers=None):
        return answer({"errors": [{
            "id": "0ee3cb3b-7e4b-4a6f-a2f5-000000000000", "status": status, "code": code,
            "title": "Invalid input.", "detail": detail, "source": {"pointer": pointer}}]}, status, headers)

    def unauthorized(self):
        return self.error(401, "not_authenticated", "Authentication credentials were not provided.", None)

    def throttled(self):
        return self.error(429, "throttled", "Request was throttled. Expected available in 1 second.", None, {"Retry-After": "1"})


class Iterable(Vendor):
    """200, with what failed in a dozen lists; e-mail addresses come back in lower case."""

    name = "iterable"
    credentials = {"Api-Key": "iterable-key"}
    routes = [("POST", "/api/users/bulkUpdate", "bulk_update"), ("DELETE", "/api/users/byUserId/{id}", "delete_by_id"),
              ("DELETE", "/api/users/{email}", "delete_by_email"), ("GET", "/api/lists", "lists")]

    def bulk_update(self, call):
        failed = {"%s%s" % (what, by): [] for what in ("conflict", "forgotten", "invalidData", "invalid", "malicious", "notFound")
                  for by in ("Emails", "UserIds")}
        invalid = {"Emails": [], "UserIds": []}
        users = call.json()["users"]
        for user in users:
            id, address = user.get("userId"), user.get("email")
            if address is not None and not is_email(address):
                invalid["Emails"].append(address.lower())
            elif user["dataFields"].get("plan") == "conflict":
                failed["conflictUserIds" if id else "conflictEmails"].append(id or address.lower())
            else:
                self.table("users").setdefault(id or address, {}).update(user["dataFields"], **({"email": address} if address else {}))
        count = sum(map(len, [*failed.values(), *invalid.values()]))
        return answer({"successCount": len(users) - count, "failCount": count, "invalidEmails": invalid["Emails"],
                       "invalidUserIds": invalid["UserIds"], "filteredOutFields": [], "createdFields": [], "failedUpdates": failed})

    def delete_by_id(self, _call, id):
        return self.delete(id)

    def delete_by_email(self, _call, email):
        return self.delete(email)

    def delete(self, id):
        if self.table("users").pop(id, None) is None:
            return answer({"msg": "User not found", "code": "BadParams", "params": None}, 404)
        return answer({"msg": "", "code": "Success", "params": None})

    def lists(self, _call):
        return answer({"lists": []})

    def unauthorized(self):
        return answer({"msg": "Invalid API key", "code": "BadApiKey", "params": None}, 401)

    def throttled(self):
        return answer({"msg": "Too many requests", "code": "RateLimitExceeded", "params": None}, 429)


class Mailchimp(Vendor):
    """Members by the MD5 hash of their address; a list of errors in a good answer."""

    name = "mailchimp"
    credentials = {"Authorization": basic("signalsmith", "mailchimp-key")}
    routes = [("PUT", "/lists/{list}/members/{hash}", "put_member"), ("DELETE", "/lists/{list}/members/{hash}", "delete_member"),
              ("POST", "/lists/{list}", "post_members"), ("GET", "/ping", "ping")]
    statuses = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")

    def put_member(self, call, list, hash):
        member = call.json()
        address = member.get("email_address")
        if not is_email(address):
            return self.problem(400, "Invalid Resource", "Please provide a valid email address.")
        if hashlib.md5(address.lower().encode()).hexdigest() != hash:
            return self.problem(400, "Invalid Resource", "The subscriber hash does not match the email address.")
        created = hash not in self.table(list)
        if created and member.get("status_if_new") not in self.statuses and member.get("status") not in self.statuses:
            return self.problem(400, "Invalid Resource", "A status is required.")
        held = self.table(list).setdefault(hash, {"status": member.get("status_if_new")})
        held.update({name: value for name, value in member.items() if name != "status_if_new"})
        return answer(dict(held, id=hash))

    def post_members(self, call, list):
        request = call.json()
        new, updated, errors = [], [], []
        if len(request["members"]) > 500:
            return self.problem(400, "Invalid Resource", "The members array may have at most 500 items.")
        for member in request["members"]:
            address = member["email_address"]
            if not is_email(address):
                errors.append({"email_address": address, "error": "Please provide a valid email address.",
                               "error_code": "ERROR_GENERIC", "field": "email address", "field_message": ""})
                continue
            hash = hashlib.md5(address.lower().encode()).hexdigest()
            (updated if hash in self.table(list) else new).append(dict(member, id=hash))
            self.table(list).setdefault(hash, {}).update(member)
        return answer({"new_members": new, "updated_members": updated, "errors": errors,
                       "total_created": len(new), "total_updated": len(updated), "error_count": len(errors)})

    def delete_member(self, _call, list, hash):
        if self.table(list).pop(hash, None) is None:
            return self.problem(404, "Resource Not Found", "The requested resource could not be found.")
        return answer(status=204)

    def ping(self, _call):
        return answer({"health_status": "Everything's Chimpy!"})

    @staticmethod
    def problem(status, title, detail):
        return answer({"type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": title, "status": status,
                       "detail": detail, "instance": "00000000-0000-0000-0000-000000000000"}, status)

    def unauthorized(self):
        return self.problem(401, "API Key Invalid", "Your API key may be invalid, or you've attempted to access the wrong datacenter.")

    def throttled(self):
        return self.problem(429, "Too Many Requests", "You have exceeded the limit of 10 simultaneous connections.")


vendors = [Braze, CustomerIo, Iterable, Klaviyo, Mailchimp]
