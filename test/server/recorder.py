"""A destination for tests: an HTTP server that records, applies and misbehaves.

    recorder.py [--forget-keys] [--certificate FILE --key FILE [--tls-maximum 1.1]] [--port PORT]

It serves two ports of 127.0.0.1, chosen by the system if not said, and says which in its
first line of output: {"port": ..., "control": ...}.  It ends when its standard
input does, so it never outlives the test that started it.

The destination port records every request (see Request) and applies what it
understands to a table in memory: webhook bodies, single and batched, and plain
PUT, PATCH, POST and DELETE by path.  Like a good API it remembers idempotency keys:
what came before is answered as before and not applied again, and a key that
comes with another body is refused with 422.  --forget-keys makes it a worse API.

The control port speaks JSON:

    GET    /history?since=N   requests, from number N on, in order of arrival
    GET    /state             the table: {key: data}
    GET    /figures           counts, see Destination.figures
    GET    /wait?requests=N&held=N&timeout=S   returns when so many have come (are held)
    POST   /check             the history checks of history.py; body: what to expect
    PUT    /rules             replaces the fault rules, see Rule
    POST   /release           lets go of all requests that rules hold
    POST   /reset             forgets history, table, keys and rules
"""

import argparse
import asyncio
import base64
import json
import os
import random
import re
import socket
import ssl
import struct
import sys
import time

from aiohttp import web

import history
from payload import parse_changes, run_of


class Rule:
    """A fault: which requests it meets, when it strikes, and what it does.

    Which (all that are given must hold):
        nth          the nth request that meets the rest, from 1; or [first, last]
        times        strikes so many times at most
        probability  of striking, from a generator seeded with "seed"
        method, path (a regular expression)
        key          a record's key, such as {"id": 7}, is in the request; or a list
                     of keys, one of which is
        attempt      the value of the header Signalsmith-Attempt
    When ("phase"):
        before_read, after_read (nothing applied, the default), after_apply,
        mid_answer (half the body is out), after_answer
    What:
        delay        seconds to wait first
        hold         waits until /release
        drop         closes the connection; "reset" sends RST instead
        status, headers, body   the answer (body: text, or JSON if not a string)
        length       the Content-Length claimed, whatever the body
        reject       [keys]: requests with these get per-record results, which refuse
                     them, with the text of "error", and accept the rest
        poison       [keys]: requests with one of these are refused (status, or 400)
    """

    KNOWN = {"name", "nth", "times", "probability", "seed", "method", "path", "key",
             "attempt", "phase", "delay", "hold", "drop", "reset", "status", "headers",
             "body", "length", "reject", "error", "poison"}
    SELECTORS = ("key", "reject", "poison")
    PHASES = ("before_read", "after_read", "after_apply", "mid_answer", "after_answer")

    def __init__(self, given):
        unknown = set(given) - self.KNOWN
        if unknown:
            raise ValueError("unknown in a rule: %s" % ", ".join(sorted(unknown)))
        self.given = given
        self.name = given.get("name", "rule")
        self.phase = given.get("phase", "after_read")
        if self.phase not in self.PHASES:
            raise ValueError("unknown phase: %s" % self.phase)
        self.met = 0
        self.struck = 0
        self.random = random.Random(given.get("seed", 1))

    def needs_body(self):
        return any(selector in self.given for selector in self.SELECTORS)

    def meets(self, request):
        """Whether this request is of the kind that the rule is about."""
        given = self.given
        if "method" in given and request.method != given["method"]:
            return False
        if "path" in given and not re.search(given["path"], request.path):
            return False
        if "attempt" in given and request.headers.get("signalsmith-attempt") != str(given["attempt"]):
            return False
        for selector in self.SELECTORS:
            if selector in given:
                keys = given[selector] if isinstance(given[selector], list) else [given[selector]]
                wanted = {history.canonical(key) for key in keys}
                if not wanted & {change.key for change in request.changes}:
                    return False
        return True

    def is_due(self):
        """Whether the rule is to strike, the latest request that it met being the one."""
        given = self.given
        if "nth" in given:
            nth = given["nth"]
            first, last = nth if isinstance(nth, list) else (nth, nth)
            if not first <= self.met <= last:
                return False
        if "times" in given and self.struck >= given["times"]:
            return False
        return "probability" not in given or self.random.random() < given["probability"]


class Request:
    """What is recorded of a request; times are seconds of the monotonic clock."""

    def __init__(self, number, incoming, connection):
        self.number = number
        self.connection = connection
        self.method = incoming.method
        self.path = incoming.path
        self.raw_path = incoming.raw_path
        self.headers = {name.lower(): value for name, value in incoming.headers.items()}
        self.started = time.monotonic()
        self.finished = None
        self.body = None            # bytes, once read
        self.body_hash = None
        self.run_id = None          # of a webhook request
        self.changes = []           # payload.Change
        self.status = None          # of the answer, if one was begun
        self.answered = False       # the whole answer was handed to the kernel
        self.applied = False
        self.rule = None            # name of the rule that struck

    def take_body(self, body):
        self.body = body
        self.body_hash = history.body_hash(body)
        self.run_id = run_of(body)
        self.changes = parse_changes(self.method, self.path, self.headers, body)

    def as_json(self):
        try:
            body = {"body": (self.body or b"").decode("utf-8")}
        except UnicodeDecodeError:
            body = {"body_base64": base64.b64encode(self.body).decode("ascii")}
        return dict(
            body, number=self.number, connection=self.connection, method=self.method,
            path=self.path, raw_path=self.raw_path, headers=self.headers,
            started=self.started, finished=self.finished, body_hash=self.body_hash,
            status=self.status, answered=self.answered, applied=self.applied,
            rule=self.rule)


class Destination:
    """The state of the API: history, table, idempotency keys, rules."""

    def __init__(self, remember_keys):
        self.remember_keys = remember_keys
        self.changed = asyncio.Condition()
        self.released = asyncio.Event()
        self.connections = {}
        self.reset()

    def reset(self):
        self.history = []
        self.table = {}
        self.known_keys = {}        # idempotency key -> hash of what it came with
        self.rules = []
        self.held = 0
        self.release()

    def release(self):
        self.released.set()
        self.released = asyncio.Event()

    def connection_number(self, transport):
        """Connections are numbered as they first carry a request."""
        return self.connections.setdefault(transport, len(self.connections) + 1)

    def figures(self):
        return {
            "requests": len(self.history),
            "held": self.held,
            "open": sum(1 for request in self.history if request.finished is None),
            "connections": len(self.connections),
            "records": len(self.table),
            "rules": {rule.name: rule.struck for rule in self.rules},
        }

    async def notify(self):
        async with self.changed:
            self.changed.notify_all()

    async def wait_for(self, condition, timeout):
        async def wait():
            async with self.changed:
                await self.changed.wait_for(condition)
        try:
            await asyncio.wait_for(wait(), timeout)
            return True
        except asyncio.TimeoutError:
            return False

    def rule_for(self, request, with_body):
        """The first rule that strikes; those that look at the body come later.

        Each rule counts what it meets, whether or not another one strikes.
        """
        striking = None
        for rule in self.rules:
            if rule.needs_body() == with_body and rule.meets(request):
                rule.met += 1
                if striking is None and rule.is_due():
                    rule.struck += 1
                    striking = rule
        return striking

    def reused_key(self, request):
        """A change whose idempotency key came with other data before, or None."""
        for change in request.changes:
            known = self.known_keys.get(change.idempotency_key)
            if known is not None and known != change.hash:
                return change
        return None

    def apply(self, request, refused):
        """Applies what is neither refused nor, by its key, known already."""
        for change in request.changes:
            if change.key in refused:
                continue
            if change.idempotency_key is not None and self.remember_keys:
                if change.idempotency_key in self.known_keys:
                    continue
                self.known_keys[change.idempotency_key] = change.hash
            if change.operation == "delete":
                self.table.pop(change.key, None)
            else:
                self.table[change.key] = change.data
        request.applied = True


class Server:
    """The destination port: one handler that walks through the phases."""

    def __init__(self, destination):
        self.destination = destination

    async def handle(self, incoming):
        destination = self.destination
        request = Request(len(destination.history) + 1, incoming,
                          destination.connection_number(incoming.transport))
        destination.history.append(request)
        await destination.notify()
        try:
            return await self.serve(request, incoming)
        except ConnectionError:
            # We or the client ended the connection; what is returned goes nowhere.
            return web.Response()
        finally:
            request.finished = time.monotonic()
            await destination.notify()

    async def serve(self, request, incoming):
        destination = self.destination
        rule = destination.rule_for(request, with_body=False)
        answer = await self.strike(rule, "before_read", request, incoming)
        if answer is None:
            request.take_body(await incoming.read())
            rule = destination.rule_for(request, with_body=True) if rule is None else rule
            answer = await self.strike(rule, "after_read", request, incoming)
        if answer is None:
            answer = await self.answer(rule, request, incoming)
        return await self.send(rule, answer, request, incoming)

    async def answer(self, rule, request, incoming):
        """What a destination in good health does with a request."""
        destination = self.destination
        reused = destination.reused_key(request) if destination.remember_keys else None
        if reused is not None:
            return web.json_response(
                {"error": "idempotency key reused with another body", "key": reused.key}, status=422)
        refused = {history.canonical(key) for key in rule.given.get("reject", [])} if rule else set()
        destination.apply(request, refused)
        answer = await self.strike(rule, "after_apply", request, incoming)
        return self.success(request, refused, rule) if answer is None else answer

    async def strike(self, rule, phase, request, incoming):
        """What the rule does in this phase; an answer ends the processing."""
        if rule is None or rule.phase != phase:
            return None
        request.rule = rule.name
        await self.misbehave(rule, incoming)
        given = rule.given
        if "status" not in given and "body" not in given and "poison" not in given:
            return None
        body = given.get("body", "")
        if not isinstance(body, str):
            body = json.dumps(body)
        return web.Response(status=given.get("status", 400 if "poison" in given else 200),
                            headers=given.get("headers"), body=body.encode("utf-8"))

    async def misbehave(self, rule, incoming):
        given = rule.given
        if "delay" in given:
            await self.linger(incoming, asyncio.sleep(given["delay"]))
        if given.get("hold"):
            self.destination.held += 1
            await self.destination.notify()
            try:
                await self.linger(incoming, self.destination.released.wait())
            finally:
                self.destination.held -= 1
        if given.get("reset"):
            reset_connection(incoming.transport)
            raise ConnectionResetError()
        if given.get("drop"):
            incoming.transport.abort()      # a FIN: nothing is left to send
            raise ConnectionResetError()

    async def linger(self, incoming, reason):
        """Waits for the reason, or until the client has gone: that ends the request."""
        waiting = asyncio.ensure_future(reason)
        try:
            while not (await asyncio.wait([waiting], timeout=0.02))[0]:
                if incoming.transport is None or incoming.transport.is_closing():
                    raise ConnectionResetError()
        finally:
            waiting.cancel()

    def success(self, request, refused, rule):
        if not refused:
            return web.json_response({"ok": True}, status=200)
        error = rule.given.get("error", "refused by rule")
        return web.json_response({"results": [
            {"idempotency_key": change.idempotency_key,
             "status": 422 if change.key in refused else 200,
             "error": error if change.key in refused else None}
            for change in request.changes]}, status=200)

    async def send(self, rule, answer, request, incoming):
        request.status = answer.status
        late = rule if rule and rule.phase in ("mid_answer", "after_answer") else None
        if late:
            request.rule = late.name
            if "status" in late.given:
                answer.set_status(late.given["status"])
                request.status = late.given["status"]
        if rule and rule.phase == "mid_answer" or rule and "length" in rule.given:
            return await self.send_part(rule, answer, incoming)
        if late:
            # Only once the client has the whole answer, and without a word.
            answer.headers.setdefault("Content-Length", str(len(answer.body or b"")))
            await answer.prepare(incoming)
            await answer.write_eof()
            request.answered = True
            await self.misbehave(late, incoming)
            incoming.transport.close()
            return answer
        await answer.prepare(incoming)
        await answer.write_eof()
        request.answered = True
        return answer

    async def send_part(self, rule, answer, incoming):
        """Half the body under the full length (or a false one), then the fault."""
        body = answer.body or b"{}"
        length = rule.given.get("length", len(body))
        half = body if "length" in rule.given else body[:len(body) // 2]
        partial = web.StreamResponse(status=answer.status, headers=answer.headers)
        partial.content_length = length
        await partial.prepare(incoming)
        await partial.write(half)
        await self.misbehave(rule, incoming)
        incoming.transport.close()
        return partial


def respond(value):
    """A JSON answer; numbers as they came in."""
    return web.Response(text=history.canonical(value), content_type="application/json")


def reset_connection(transport):
    """Closes with RST, as a crashed or overloaded peer does."""
    transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Control:
    """The control port."""

    def __init__(self, destination):
        self.destination = destination

    def routes(self):
        return [
            web.get("/history", self.get_history), web.get("/state", self.get_state),
            web.get("/figures", self.get_figures), web.get("/wait", self.wait),
            web.post("/check", self.check), web.put("/rules", self.put_rules),
            web.post("/release", self.release), web.post("/reset", self.reset),
        ]

    async def get_history(self, incoming):
        since = int(incoming.query.get("since", "1"))
        return respond([request.as_json() for request in self.destination.history[since - 1:]])

    async def get_state(self, _incoming):
        return respond(self.destination.table)

    async def get_figures(self, _incoming):
        return respond(self.destination.figures())

    async def wait(self, incoming):
        wanted = {name: int(incoming.query[name]) for name in ("requests", "held") if name in incoming.query}

        def reached():
            figures = self.destination.figures()
            return all(figures[name] >= count for name, count in wanted.items())

        reached_in_time = await self.destination.wait_for(reached, float(incoming.query.get("timeout", "60")))
        return respond(dict(self.destination.figures(), reached=reached_in_time))

    async def check(self, incoming):
        expectation = history.parse_json(await incoming.text())
        return respond(
            history.check(self.destination.history, self.destination.table, expectation))

    async def put_rules(self, incoming):
        try:
            self.destination.rules = [Rule(given) for given in await incoming.json()]
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        return respond({})

    async def release(self, _incoming):
        self.destination.release()
        return respond({})

    async def reset(self, _incoming):
        self.destination.reset()
        return respond({})


async def listen(application, tls=None, port=0):
    """Serves on a port of the loopback interface, a free one if not said; returns it."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls, backlog=1024)
    await site.start()
    return site._server.sockets[0].getsockname()[1]


def tls_context(options):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # Bad certificates and old protocols are what some tests are about.
    tls.set_ciphers("ALL:@SECLEVEL=0")
    tls.minimum_version = ssl.TLSVersion.TLSv1
    tls.maximum_version = getattr(ssl.TLSVersion, "TLSv" + options.tls_maximum.replace(".0", "").replace(".", "_"))
    tls.load_cert_chain(options.certificate, options.key)
    return tls


async def run(server, control, tls=None, port=0):
    """Serves both ports, says which they are, and ends with the standard input."""
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{path:.*}", server.handle)
    control_application = web.Application(client_max_size=1 << 30)
    control_application.add_routes(control.routes())

    ports = {"port": await listen(application, tls, port), "control": await listen(control_application)}
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    os._exit(0)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--tls-maximum", choices=("1.0", "1.1", "1.2", "1.3"), default="1.3")
    parser.add_argument("--forget-keys", action="store_true")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rules", type=json.loads, default=[])
    options = parser.parse_args()
    tls = None
    if options.certificate:
        tls = tls_context(options)

    destination = Destination(remember_keys=not options.forget_keys)
    destination.rules = [Rule(given) for given in options.rules]
    await run(Server(destination), Control(destination), tls, options.port)


if __name__ == "__main__":
    asyncio.run(main())
