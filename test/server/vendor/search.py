"""Search engines: Algolia."""

from vendor.base import Vendor, answer


class Algolia(Vendor):
    """Operations mixed in one batch; a record that is too big fails them all."""

    name = "algolia"
    credentials = {"X-Algolia-Application-Id": "APP", "X-Algolia-API-Key": "algolia-key"}
    routes = [("POST", "/1/indexes/{index}/batch", "batch"), ("GET", "/1/indexes", "indexes")]
    largest_record = 10000

    def set_up(self):
        self.task = 0

    def batch(self, call, index):
        requests = call.json()["requests"]
        for position, request in enumerate(requests):
            body = request["body"]
            if not isinstance(body.get("objectID"), str):
                return self.error(400, "Record at the position %d has no valid objectID" % position)
            size = len(str(body))
            if size > self.largest_record:
                return self.error(400, "Record at the position %d objectID=%s is too big size=%d/%d bytes."
                                  " Please have a look at https://www.algolia.com/doc/guides/sending-and-managing-data/prepare-your-data/in-depth/index-and-records-size-and-usage-limitations/#record-size-limits"
                                  % (position, body["objectID"], size, self.largest_record))
        for request in requests:
            self.apply(self.table(index), request["action"], request["body"])
        self.task += 1
        return answer({"taskID": self.task, "objectIDs": [request["body"]["objectID"] for request in requests]})

    @staticmethod
    def apply(records, action, body):
        if action == "deleteObject":
            records.pop(body["objectID"], None)
        elif action == "partialUpdateObject":
            records.setdefault(body["objectID"], {}).update(body)
        else:
            records[body["objectID"]] = body

    def indexes(self, _call):
        return answer({"items": [], "nbPages": 1})

    @staticmethod
    def error(status, message):
        return answer({"message": message, "status": status}, status)

    def unauthorized(self):
        return self.error(403, "Invalid Application-ID or API key")

    def throttled(self):
        return self.error(429, "Too many requests")


vendors = [Algolia]
