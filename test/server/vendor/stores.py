"""Document stores: CouchDB.  test/t/106_couchdb.pl asks a real one, too."""

import hashlib
import json

from vendor.base import Vendor, answer, basic


class CouchDb(Vendor):
    """A result for each document; what is not of the current revision is a conflict."""

    name = "couchdb"
    credentials = {"Authorization": basic("admin", "couchdb-password")}
    routes = [("POST", "/{db}/_bulk_docs", "bulk_docs"), ("POST", "/{db}/_all_docs", "all_docs"), ("GET", "/_session", "session")]

    def bulk_docs(self, call, db):
        docs = call.json()["docs"]
        for doc in docs:
            if not isinstance(doc.get("_id"), str) or doc["_id"].startswith("_"):
                return answer({"error": "illegal_docid", "reason": "Only reserved document ids may start with underscore."}, 400)
        return answer([self.write(self.table(db), doc) for doc in docs], 201)

    @staticmethod
    def write(table, doc):
        held = table.get(doc["_id"])
        if (held or {}).get("_rev") != doc.get("_rev"):
            return {"id": doc["_id"], "error": "conflict", "reason": "Document update conflict."}
        if doc.get("plan") == "nonsense":
            return {"id": doc["_id"], "error": "forbidden", "reason": "there is no plan \"nonsense\""}
        number = int(held["_rev"].split("-")[0]) if held else 0
        rev = "%d-%s" % (number + 1, hashlib.md5(json.dumps(doc, sort_keys=True).encode()).hexdigest())
        if doc.get("_deleted"):
            table.pop(doc["_id"], None)
        else:
            table[doc["_id"]] = dict(doc, _rev=rev)
        return {"ok": True, "id": doc["_id"], "rev": rev}

    def all_docs(self, call, db):
        table = self.table(db)
        return answer({"total_rows": len(table), "offset": 0, "rows": [
            {"id": key, "key": key, "value": {"rev": table[key]["_rev"]}} if key in table else {"key": key, "error": "not_found"}
            for key in call.json()["keys"]]})

    def session(self, _call):
        return answer({"ok": True})

    def unauthorized(self):
        return answer({"error": "unauthorized", "reason": "Name or password is incorrect."}, 401)

    def throttled(self):
        return answer({"error": "too_many_requests", "reason": "You've exceeded your rate limit allowance."}, 429)


vendors = [CouchDb]
