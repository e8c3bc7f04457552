"""Search engines: Algolia, Elasticsearch, Typesense."""

import json

from vendor.base import Vendor, answer, basic, text


class Algolia(Vendor):
    """Operations mixed in one batch; a record that is too big fails them all."""

    name = "algolia"
    credentials = {"X-Algolia-Application-Id": "APP", "X-Algolia-API-Key": "algolia-key"}
    routes = [("POST", "/1/indexes/{index}/batch", "batch"), ("GET", "/1/keys/{key}", "key")]
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

    def key(self, call, key):
        if key != call.headers.get("X-Algolia-API-Key"):
            return self.error(403, "Invalid Application-ID or API key")
        return answer({"value": key, "acl": ["addObject", "deleteObject"], "validity": 0})

    @staticmethod
    def error(status, message):
        return answer({"message": message, "status": status}, status)

    def unauthorized(self):
        return self.error(403, "Invalid Application-ID or API key")

    def throttled(self):
        return self.error(429, "Too many requests")


class Elasticsearch(Vendor):
    """200 whatever happened; each result is below the name of its operation.
    Indexes map "plan" to keyword, and refuse an object there."""

    name = "elasticsearch"
    credentials = {"Authorization": basic("elastic", "elastic-password")}
    routes = [("POST", "/{index}/_bulk", "bulk"), ("GET", "", "root"), ("GET", "/", "root")]

    def set_up(self):
        self.busy = 0           # so many operations are refused for the moment

    def set(self, busy=None, **others):
        if busy is not None:
            self.busy = busy
        super().set(**others)

    def bulk(self, call, index):
        if call.headers.get("Content-Type") != "application/x-ndjson":
            return self.error(406, "media_type_header_exception", "Invalid media-type value on header [Content-Type]")
        if not call.body.endswith(b"\n"):
            return self.error(400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
        items = []
        lines = iter(call.lines())
        for line in lines:
            (action, facts), = line.items()
            document = next(lines) if action != "delete" else None
            items.append({action: dict({"_index": index, "_id": facts["_id"]},
                                       **self.operate(self.table(index), action, facts["_id"], document))})
        return answer({"took": 3, "errors": any("error" in result for item in items for result in item.values()), "items": items})

    def operate(self, documents, action, id, document):
        if self.busy > 0:
            self.busy -= 1
            return {"status": 429, "error": {"type": "es_rejected_execution_exception",
                                             "reason": "rejected execution of primary operation"}}
        if action == "delete":
            found = documents.pop(id, None) is not None
            return {"result": "deleted" if found else "not_found", "status": 200 if found else 404}
        if isinstance(document.get("plan"), dict):
            return {"status": 400, "error": {"type": "document_parsing_exception",
                                             "reason": "[1:9] failed to parse field [plan] of type [keyword] in document with id '%s'." % id}}
        created = id not in documents
        documents[id] = document
        return {"result": "created" if created else "updated", "status": 201 if created else 200}

    def root(self, _call):
        return answer({"name": "node-1", "version": {"number": "8.15.0"}, "tagline": "You Know, for Search"})

    @staticmethod
    def error(status, type, reason):
        return answer({"error": {"root_cause": [{"type": type, "reason": reason}], "type": type, "reason": reason}, "status": status}, status)

    def unauthorized(self):
        return self.error(401, "security_exception", "unable to authenticate user [elastic] for REST request")

    def throttled(self):
        return self.error(429, "circuit_breaking_exception", "[parent] Data too large")


class Typesense(Vendor):
    """A JSON text a line in and out, in order, and 200 always; "plan" is a string."""

    name = "typesense"
    credentials = {"X-TYPESENSE-API-KEY": "typesense-key"}
    routes = [("POST", "/collections/{name}/documents/import", "import_documents"),
              ("DELETE", "/collections/{name}/documents/{id}", "delete_document"), ("GET", "/collections", "collections")]

    def import_documents(self, call, name):
        results = []
        for document in call.lines():
            if not isinstance(document.get("id"), str):
                results.append({"success": False, "code": 400, "error": "Document's `id` field should be a string.", "document": json.dumps(document)})
            elif not isinstance(document.get("plan"), str):
                results.append({"success": False, "code": 400, "error": "Field `plan` must be a string.", "document": json.dumps(document)})
            else:
                self.table(name)[document["id"]] = document
                results.append({"success": True})
        return text("\n".join(json.dumps(result) for result in results))

    def delete_document(self, _call, name, id):
        document = self.table(name).pop(id, None)
        if document is None:
            return answer({"message": "Could not find a document with id: %s" % id}, 404)
        return answer(document)

    def collections(self, _call):
        return answer([])

    def unauthorized(self):
        return answer({"message": "Forbidden - a valid `x-typesense-api-key` header must be sent."}, 401)

    def throttled(self):
        return answer({"message": "Rate limit exceeded or blocked"}, 429)


vendors = [Algolia, Elasticsearch, Typesense]
