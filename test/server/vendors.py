"""The vendors' APIs, for tests: each answers as its documentation says.

    vendors.py

One server for all, with the ports, history and fault rules of recorder.py; the
first segment of a path says which vendor is asked: /braze/users/track.  What
they do is in vendor/, a class each.  The control port knows further:

    PUT /vendor/NAME   {"throttle": N}      refuses the next N requests as it does
                                            those that come too fast
                       {"revoke": true}     takes no credentials any more;
                                            false: takes them again
                       {"expire": true}     forgets the access tokens it has issued
                       {"tables": {...}}    what it holds, from now on
                       {QUIRK: value}       what its class says of that attribute

GET /state gives what each vendor holds: {NAME: {table: {id: record}}}.
"""

import asyncio

from aiohttp import web

from recorder import Control, Destination, Server, respond, run
from vendor import vendors
from vendor.base import Call


class Vendors(Destination):
    """All vendors; what they hold takes the place of the table."""

    def reset(self):
        self.vendors = {vendor.name: vendor() for vendor in vendors}
        super().reset()

    @property
    def table(self):
        return {name: vendor.tables for name, vendor in self.vendors.items()}

    @table.setter
    def table(self, _value):
        """Each vendor has its own."""


class VendorServer(Server):
    async def answer(self, rule, request, incoming):
        _, name, path = (incoming.raw_path.split("?")[0] + "/").split("/", 2)
        vendor = self.destination.vendors.get(name)
        if vendor is None:
            return web.Response(status=404, text="there is no vendor %s" % name)
        answer = vendor.serve(Call(incoming, "/" + path.rstrip("/"), request.body))
        request.applied = answer.status < 300
        struck = await self.strike(rule, "after_apply", request, incoming)
        return answer if struck is None else struck


class VendorControl(Control):
    def routes(self):
        return super().routes() + [web.put("/vendor/{name}", self.put_vendor)]

    async def put_vendor(self, incoming):
        self.destination.vendors[incoming.match_info["name"]].set(**await incoming.json())
        return respond({})


async def main():
    destination = Vendors(remember_keys=False)
    await run(VendorServer(destination), VendorControl(destination))


if __name__ == "__main__":
    asyncio.run(main())
