"""A destination for tests that has ids and versions of its own.

    things.py

Like recorder.py it serves two ports of 127.0.0.1 and says which in its first line
of output, and ends when its standard input does.

The destination port is a small API in the manner of many a vendor's.  A thing has
an id that the server chooses ("t1", "t2" ...), a version that grows with each
change, and an external key, given as "external", of which there is one.

    POST   /things              creates; 201 with {"id", "version"} and a Location;
                                409 with {"error": {"existing": id}} if it exists
    PUT    /things/ID           replaces; If-Match: VERSION is heeded (412 if stale)
    DELETE /things/ID           204; If-Match is heeded
    GET    /things?external=K   {"things": [...]}
    POST   /things/search       {"externals": [...]}: the same for several
    POST   /bulk                [{"op", "id", "version", "external", ...}]: results in order,
                                {"id", "version"} or {"error": "conflict" | "exists" | "missing"}

The control port speaks JSON:

    GET    /things              what there is: {external: {"id", "version", "data"}}
    GET    /requests            what came: [{"method", "path", "headers", "body", "status"}]
    POST   /touch               {"external"}: somebody else changes a thing
    POST   /remove              {"external"}: somebody else deletes it
    PUT    /quirks              {"hide_existing": true}: a 409 does not say which id
    POST   /reset
"""

import asyncio
import json
import os
import sys

from aiohttp import web


class Vendor:
    """The things, by id."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.things = {}
        self.requests = []
        self.quirks = {}
        self.last = 0

    def find(self, external):
        for thing in self.things.values():
            if str(thing["external"]) == str(external):
                return thing
        return None

    def create(self, data):
        self.last += 1
        thing = {"id": "t%d" % self.last, "version": 1, "external": data.get("external"), "data": data}
        self.things[thing["id"]] = thing
        return thing

    def change(self, thing, data):
        thing["version"] += 1
        thing["data"] = data


def summary(thing):
    return {"id": thing["id"], "version": thing["version"], "external": thing["external"]}


class Server:
    """The destination port."""

    def __init__(self, vendor):
        self.vendor = vendor

    def routes(self):
        return [
            web.post("/things", self.create), web.get("/things", self.find_one),
            web.post("/things/search", self.find_several),
            web.put("/things/{id}", self.replace), web.delete("/things/{id}", self.delete),
            web.post("/bulk", self.bulk),
        ]

    @web.middleware
    async def record(self, incoming, handler):
        request = {"method": incoming.method, "path": incoming.path_qs,
                   "headers": {name.lower(): value for name, value in incoming.headers.items()},
                   "body": (await incoming.read()).decode("utf-8")}
        self.vendor.requests.append(request)
        answer = await handler(incoming)
        request["status"] = answer.status
        return answer

    async def create(self, incoming):
        data = await incoming.json()
        existing = self.vendor.find(data.get("external"))
        if existing is not None:
            told = {} if self.vendor.quirks.get("hide_existing") else {"existing": existing["id"]}
            return web.json_response({"error": dict(told, message="it exists")}, status=409)
        thing = self.vendor.create(data)
        return web.json_response(summary(thing), status=201, headers={"Location": "/things/%s" % thing["id"]})

    async def find_one(self, incoming):
        thing = self.vendor.find(incoming.query["external"])
        return web.json_response({"things": [summary(thing)] if thing else []})

    async def find_several(self, incoming):
        found = [self.vendor.find(external) for external in (await incoming.json())["externals"]]
        return web.json_response({"things": [summary(thing) for thing in found if thing]})

    def stale(self, incoming, thing):
        match = incoming.headers.get("If-Match")
        return match is not None and match != str(thing["version"])

    async def replace(self, incoming):
        thing = self.vendor.things.get(incoming.match_info["id"])
        if thing is None:
            return web.json_response({"error": "missing"}, status=404)
        if self.stale(incoming, thing):
            return web.json_response({"error": "stale"}, status=412)
        self.vendor.change(thing, await incoming.json())
        return web.json_response(summary(thing))

    async def delete(self, incoming):
        thing = self.vendor.things.get(incoming.match_info["id"])
        if thing is None:
            return web.json_response({"error": "missing"}, status=404)
        if self.stale(incoming, thing):
            return web.json_response({"error": "stale"}, status=412)
        del self.vendor.things[thing["id"]]
        return web.Response(status=204)

    async def bulk(self, incoming):
        return web.json_response([self.bulk_change(change) for change in await incoming.json()])

    def bulk_change(self, change):
        vendor = self.vendor
        if change["op"] == "create":
            if vendor.find(change["external"]) is not None:
                return {"error": "exists"}
            return summary(vendor.create(change))
        thing = vendor.things.get(change.get("id"))
        if thing is None:
            return {"error": "missing"}
        if change.get("version") != thing["version"]:
            return {"error": "conflict"}
        if change["op"] == "delete":
            del vendor.things[thing["id"]]
        else:
            vendor.change(thing, change)
        return summary(thing)


class Control:
    """The control port."""

    def __init__(self, vendor):
        self.vendor = vendor

    def routes(self):
        return [
            web.get("/things", self.get_things), web.get("/requests", self.get_requests),
            web.post("/touch", self.touch), web.post("/remove", self.remove),
            web.put("/quirks", self.put_quirks), web.post("/reset", self.reset),
        ]

    async def get_things(self, _incoming):
        return web.json_response({str(thing["external"]): thing for thing in self.vendor.things.values()})

    async def get_requests(self, _incoming):
        return web.json_response(self.vendor.requests)

    async def touch(self, incoming):
        self.vendor.find((await incoming.json())["external"])["version"] += 1
        return web.json_response({})

    async def remove(self, incoming):
        del self.vendor.things[self.vendor.find((await incoming.json())["external"])["id"]]
        return web.json_response({})

    async def put_quirks(self, incoming):
        self.vendor.quirks = await incoming.json()
        return web.json_response({})

    async def reset(self, _incoming):
        self.vendor.reset()
        return web.json_response({})


async def listen(application):
    """Serves on a free port of the loopback interface; returns the port."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    return site._server.sockets[0].getsockname()[1]


async def main():
    vendor = Vendor()
    server = Server(vendor)
    application = web.Application(middlewares=[server.record], client_max_size=1 << 30)
    application.add_routes(server.routes())
    control = web.Application(client_max_size=1 << 30)
    control.add_routes(Control(vendor).routes())
    print(json.dumps({"port": await listen(application), "control": await listen(control)}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
