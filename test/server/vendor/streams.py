"""Streams: the Kafka REST proxy, in its versions 2 and 3."""

from vendor.base import Vendor, answer, basic


class KafkaRest(Vendor):
    """Both versions.  Topics are compacted: a key's last value counts, none deletes.
    The broker takes no message larger than 1,000 bytes here."""

    name = "kafka"
    credentials = {"Authorization": basic("kafka", "kafka-password")}
    routes = [("POST", "/topics/{topic}", "produce_v2"), ("GET", "/topics", "topics"),
              ("POST", "/v3/clusters/{cluster}/topics/{topic}/records:batch", "produce_v3"),
              ("GET", "/v3/clusters", "clusters")]
    content_type = "application/vnd.kafka.json.v2+json"
    too_large = "The message is 1100 bytes when serialized which is larger than 1000, which is the value of the max.request.size configuration."

    def set_up(self):
        self.offset = 0

    def produce(self, topic, key, value):
        """The offset, or None when the message is too large."""
        if len(str(value)) > 1000:
            return None
        if value is None:
            self.table(topic).pop(str(key), None)
        else:
            self.table(topic)[str(key)] = value
        self.offset += 1
        return self.offset - 1

    def produce_v2(self, call, topic):
        if call.headers.get("Content-Type") != self.content_type:
            return answer({"error_code": 415, "message": "HTTP 415 Unsupported Media Type"}, 415)
        offsets = []
        for record in call.json()["records"]:
            offset = self.produce(topic, record.get("key"), record.get("value"))
            offsets.append({"partition": 0, "offset": offset, "error_code": None, "error": None} if offset is not None else
                           {"partition": None, "offset": None, "error_code": 1, "error": self.too_large})
        return answer({"offsets": offsets, "key_schema_id": None, "value_schema_id": None})

    def produce_v3(self, call, cluster, topic):
        if cluster != "cluster-1":
            return answer({"error_code": 404, "message": "HTTP 404 Not Found"}, 404)
        successes, failures = [], []
        for entry in call.json()["entries"]:
            value = entry.get("value")
            offset = self.produce(topic, entry["key"]["data"], value and value["data"])
            if offset is None:
                failures.append({"id": entry["id"], "error_code": 42206, "message": self.too_large})
            else:
                successes.insert(0, {"id": entry["id"], "cluster_id": cluster, "topic_name": topic,
                                     "partition_id": 0, "offset": offset, "timestamp": "2026-01-01T00:00:00Z"})
        return answer({"successes": successes, "failures": failures}, 207)

    def topics(self, _call):
        return answer(list(self.tables))

    def clusters(self, _call):
        return answer({"kind": "KafkaClusterList", "data": [{"cluster_id": "cluster-1"}]})

    def unauthorized(self):
        return answer({"error_code": 401, "message": "Unauthorized"}, 401)

    def throttled(self):
        return answer({"error_code": 429, "message": "Request rate limit exceeded: The rate limit of requests per second has been exceeded."}, 429)


vendors = [KafkaRest]
