"""What the vendors' APIs have in common: routes, credentials, throttling.

A vendor is a class with a table of routes, and a method for each:

    class Example(Vendor):
        name = "example"
        credentials = {"Authorization": "Bearer right"}
        routes = [("POST", "/users/{id}", "put_user")]

        def put_user(self, call, id): ...

Its answers, the odd ones above all, have the shapes of the vendor's documentation,
and so has what it refuses.
"""

import base64
import json
import re
import urllib.parse

from aiohttp import web


def answer(body=None, status=200, headers=None):
    """A JSON answer, or one without a body."""
    if body is None:
        return web.Response(status=status, headers=headers)
    return web.json_response(body, status=status, headers=headers)


def text(body, status=200, headers=None):
    return web.Response(text=body, status=status, headers=headers)


def is_email(value):
    return isinstance(value, str) and re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value) is not None


def basic(user, password):
    """The header value of basic authentication."""
    return "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()


class Refusal(Exception):
    """Ends the handling of a request with this answer."""

    def __init__(self, response):
        super().__init__()
        self.response = response


class Call:
    """A request to a vendor."""

    def __init__(self, incoming, path, body):
        self.method = incoming.method
        self.path = path
        self.query = incoming.query         # values as strings; getall() for repeated ones
        self.headers = incoming.headers
        self.body = body

    def json(self):
        return json.loads(self.body) if self.body else None

    def lines(self):
        """The JSON texts of a body that has one a line."""
        return [json.loads(line) for line in self.body.decode("utf-8").splitlines() if line.strip()]

    def form(self):
        """The fields of a form, a list of pairs: order and repetition matter."""
        return urllib.parse.parse_qsl(self.body.decode("utf-8"), keep_blank_values=True, strict_parsing=bool(self.body))


class Vendor:
    name = None
    routes = []
    credentials = {}            # headers that every request must have
    free = ()                   # methods that need none: token endpoints

    def __init__(self):
        self.tables = {}
        self.throttle = 0
        self.revoked = False
        self.tokens = set()     # access tokens in force
        self.issued = 0
        self.compiled = [
            (method, re.compile("".join(
                "(?P<%s>[^/]+)" % part[1:-1] if part.startswith("{") else re.escape(part)
                for part in re.split(r"(\{\w+\})", path))), handler)
            for method, path, handler in self.routes]
        self.set_up()

    def set_up(self):
        """What the vendor holds at first."""

    def set(self, throttle=None, revoke=None, expire=None, tables=None, **quirks):
        if throttle is not None:
            self.throttle = throttle
        if revoke is not None:
            self.revoked = revoke
        if expire:
            self.tokens.clear()
        if tables is not None:
            self.tables = tables
        for name, value in quirks.items():
            if not hasattr(self, name):
                raise KeyError(name)
            setattr(self, name, value)

    def table(self, name):
        return self.tables.setdefault(name, {})

    def serve(self, call):
        for method, path, handler in self.compiled:
            match = path.fullmatch(call.path)
            if match and method == call.method:
                return self.handle(call, handler, match.groupdict())
        return self.not_found()

    def handle(self, call, handler, parameters):
        try:
            if handler not in self.free:
                if not self.is_authorized(call):
                    return self.unauthorized()
                if self.throttle > 0:
                    self.throttle -= 1
                    return self.throttled()
            return getattr(self, handler)(
                call, **{name: urllib.parse.unquote(value) for name, value in parameters.items()})
        except json.JSONDecodeError:
            return self.malformed()
        except Refusal as refusal:
            return refusal.response

    def is_authorized(self, call):
        if self.revoked:
            return False
        return all(call.headers.get(name) == value for name, value in self.credentials.items())

    def issue_token(self):
        self.issued += 1
        token = "%s-token-%d" % (self.name, self.issued)
        self.tokens.add(token)
        return token

    def has_token(self, call):
        return not self.revoked and call.headers.get("Authorization", "").removeprefix("Bearer ") in self.tokens

    # The usual forms; most vendors have their own.

    def unauthorized(self):
        return answer({"message": "Unauthorized"}, 401)

    def throttled(self):
        return answer({"message": "Too many requests"}, 429, {"Retry-After": "1"})

    def not_found(self):
        return answer({"message": "Not found"}, 404)

    def malformed(self):
        return answer({"message": "Malformed JSON"}, 400)
