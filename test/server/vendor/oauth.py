"""No vendor: an authorization server (RFC 6749, RFC 7523) and an API that takes its
tokens, with whatever such servers do differently as a choice of the test."""

import base64
import hashlib
import hmac
import json
import urllib.parse

from vendor.base import Refusal, Vendor, answer, basic

CLIENT = "client"
SECRET = "client secret+1"
GRANT_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class OAuth(Vendor):
    """choices: lifetime (seconds; None: not said), rotate (each refresh token once),
    instance_url, jwt_secret (HS256), jwt_modulus (RS256, hexadecimal; exponent 65537),
    client_secret, prefix (of all tokens)."""

    name = "oauth"
    routes = [("POST", "/token", "token"), ("POST", "/api/token", "token"), ("GET", "/api/me", "me"),
              ("PUT", "/api/people/{id}", "put_person"), ("DELETE", "/api/people/{id}", "delete_person"),
              ("GET", "/jwt/me", "jwt_me")]
    free = ("token", "jwt_me")

    def set_up(self):
        self.choices = {"lifetime": 3600, "rotate": True, "client_secret": SECRET, "prefix": ""}
        self.refresh_token = "refresh-0"
        self.refreshed = 0

    def set(self, choices=None, refresh_token=None, **changes):
        self.choices.update(choices or {})
        if refresh_token is not None:
            self.refresh_token = refresh_token
        super().set(**changes)

    def is_authorized(self, call):
        return self.has_token(call)

    # Tokens

    def token(self, call):
        if self.throttle > 0:
            self.throttle -= 1
            return self.throttled()
        as_json = call.headers["Content-Type"].startswith("application/json")
        given = call.json() if as_json else dict(call.form())
        grant = given.get("grant_type")
        if grant != GRANT_JWT:
            self.check_client(call, given)
        if grant == "client_credentials":
            return self.grant()
        if grant == "password":
            return self.grant() if given.get("password") == "pass word" else self.refuse("invalid_grant", "wrong password")
        if grant == "refresh_token":
            return self.refresh(given.get("refresh_token"))
        if grant == GRANT_JWT:
            self.check_assertion(given.get("assertion", ""))
            return self.grant()
        return self.refuse("unsupported_grant_type", "grant %s" % grant)

    def check_client(self, call, given):
        secret = self.choices["client_secret"]
        if call.headers.get("Authorization") == basic(CLIENT, urllib.parse.quote(secret)):
            return
        if (given.get("client_id"), given.get("client_secret")) != (CLIENT, secret):
            raise Refusal(self.refuse("invalid_client", "unknown client, secret %s" % given.get("client_secret"), 401))

    def refresh(self, token):
        if self.revoked or token != self.refresh_token:
            return self.refuse("invalid_grant", "expired access/refresh token %s" % token)
        if not self.choices["rotate"]:
            return self.grant()
        self.refreshed += 1
        self.refresh_token = self.choices["prefix"] + "refresh-%d" % self.refreshed
        return self.grant(refresh_token=self.refresh_token)

    def issue_token(self):
        self.issued += 1
        token = "%soauth-token-%d" % (self.choices["prefix"], self.issued)
        self.tokens.add(token)
        return token

    def grant(self, **more):
        given = {"access_token": self.issue_token(), "token_type": "Bearer", **more}
        if self.choices.get("lifetime"):
            given["expires_in"] = self.choices["lifetime"]
        if self.choices.get("instance_url"):
            given["instance_url"] = self.choices["instance_url"]
        return answer(given)

    @staticmethod
    def refuse(error, description, status=400):
        return answer({"error": error, "error_description": description}, status)

    # Assertions

    def check_assertion(self, assertion):
        if not self.is_signed(assertion):
            raise Refusal(self.refuse("invalid_grant", "invalid assertion"))

    def is_signed(self, assertion):
        parts = assertion.split(".")
        if len(parts) != 3:
            return False
        header, claims, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts)
        self.tables["assertion"] = {"header": json.loads(header), "claims": json.loads(claims)}
        signed = ("%s.%s" % tuple(parts[:2])).encode()
        if json.loads(header)["alg"] == "HS256":
            expected = hmac.new(self.choices["jwt_secret"].encode(), signed, hashlib.sha256).digest()
            return hmac.compare_digest(expected, signature)
        return self.is_rs256(signed, signature)

    def is_rs256(self, signed, signature):
        """RFC 8017, section 8.2.2."""
        modulus = int(self.choices["jwt_modulus"], 16)
        length = (modulus.bit_length() + 7) // 8
        message = pow(int.from_bytes(signature, "big"), 65537, modulus).to_bytes(length, "big")
        prefix = bytes.fromhex("3031300d060960864801650304020105000420")
        digest = prefix + hashlib.sha256(signed).digest()
        return message == b"\x00\x01" + b"\xff" * (length - 3 - len(digest)) + b"\x00" + digest

    # The API

    def me(self, _call):
        return answer({"name": "somebody"})

    def jwt_me(self, call):
        token = call.headers.get("Authorization", "").removeprefix("Bearer ")
        return answer({"name": "somebody"}) if self.is_signed(token) else self.unauthorized()

    def put_person(self, call, id):
        self.table("people")[id] = call.json()
        return answer({"id": id})

    def delete_person(self, _call, id):
        self.table("people").pop(id, None)
        return answer()

    def unauthorized(self):
        return answer({"error": "invalid_token", "message": "token expired or revoked"}, 401)


vendors = [OAuth]
