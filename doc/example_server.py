#!/usr/bin/env python3
"""A small HTTP API to try signalsmith with: it keeps people in memory.

    python3 doc/example_server.py 8080

PUT /people/ID stores a person, DELETE /people/ID removes one, GET /people/ID shows
one, GET /people shows how many there are.  What changes something needs the header
"Authorization: Bearer let-me-in", and an e-mail address needs an @.  POST /messages
prints a message.
"""

import http.server
import json
import sys

PEOPLE = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, document):
        body = json.dumps(document).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def read(self):
        """The body, which must be read even if the answer does not depend on it."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def is_welcome(self):
        if self.headers.get("Authorization") == "Bearer let-me-in":
            return True
        self.answer(401, {"error": "unknown token"})
        return False

    def do_PUT(self):
        body = self.read()
        if not self.is_welcome():
            return
        person = json.loads(body)
        if "@" not in (person.get("email") or ""):
            self.answer(422, {"error": "email: not an e-mail address"})
            return
        PEOPLE[self.path] = person
        self.answer(200, {"ok": True})

    def do_POST(self):
        print(json.loads(self.read())["text"], flush=True)
        self.answer(200, {"ok": True})

    def do_DELETE(self):
        self.read()
        if self.is_welcome():
            found = PEOPLE.pop(self.path, None)
            self.answer(200 if found else 404, {"deleted": bool(found)})

    def do_HEAD(self):
        if self.is_welcome():
            self.answer(200, {"ok": True})

    def do_GET(self):
        if self.path == "/people":
            self.answer(200, {"people": len(PEOPLE)})
        elif self.path in PEOPLE:
            self.answer(200, PEOPLE[self.path])
        else:
            self.answer(404, {"error": "no such person"})

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print("listening at http://127.0.0.1:%d" % server.server_port, flush=True)
    server.serve_forever()
