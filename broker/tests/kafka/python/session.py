"""session HOST:PORT SESSION.json: has the session of raw requests with a broker, and prints its answers as JSON.

The messages and their versions are those of kafka-python's schemas, which are Kafka's own.
"""

import json
import re
import socket
import struct
import sys
import time
import uuid

import kafka.protocol.admin
import kafka.protocol.consumer
import kafka.protocol.metadata
import kafka.protocol.producer
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder

SETTLE_S = 20
MODULES = (kafka.protocol.metadata, kafka.protocol.producer, kafka.protocol.consumer, kafka.protocol.admin)


def main():
    address, session = sys.argv[1], json.load(open(sys.argv[2], encoding="utf-8"))
    connection = Connection(address)
    spoken = versions_of(connection)
    kept, answers = {}, []
    for step in session["requests"]:
        request, response = find(step["api"], "Request"), find(step["api"], "Response")
        if step["api"] not in spoken:
            continue
        first, last = spoken[step["api"]]
        low, high = request._valid_versions
        for version in range(max(first, low), min(last, high) + 1):
            if version not in step.get("versions", [version]):
                continue
            try:
                found = ask(connection, step, request, response, version, kept)
            except OSError as error:
                connection = Connection(address)
                found = {"closed": str(error)}
            except struct.error as error:
                # It lacks what an answer before was to give.
                found = {"not asked": str(error)}
            answers.append({"api": step["api"], "name": step.get("name"), "version": version, "answer": found})
            for name, path in step.get("keep", {}).items():
                try:
                    kept["$" + name] = at(found, path)
                except (KeyError, IndexError):
                    pass  # A version that does not have it.
    json.dump({"versions": spoken, "answers": answers}, sys.stdout)


def ask(connection, step, request, response, version, kept):
    values = filled(step["request"], {**kept, "$version": str(version)})
    deadline = time.monotonic() + SETTLE_S
    while True:
        found = connection.ask(message(request, version, values), response, version)
        if not step.get("settle") or not any_error(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


class Connection:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 10)
        self.socket.settimeout(20)
        self.correlation_id = 0

    def ask(self, one, response, version):
        self.correlation_id += 1
        one.with_header(self.correlation_id, "session")
        self.socket.sendall(one.encode(header=True, framed=True))
        size = int.from_bytes(self.receive(4), "big")
        return plain(response.decode(self.receive(size), version=version, header=True).to_dict(json=False))

    def receive(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise OSError("the connection was closed")
            data += more
        return data


def versions_of(connection):
    """By name; our own ApiVersions is compared with the other broker's, too."""
    request, response = find("ApiVersions", "Request"), find("ApiVersions", "Response")
    one = message(request, 3, {"client_software_name": "session", "client_software_version": "1"})
    found = connection.ask(one, response, 3)
    names = {}
    for module in MODULES:
        for name in dir(module):
            key = getattr(getattr(module, name), "API_KEY", None)
            if name.endswith("Request") and isinstance(key, int):
                names[key] = name.removesuffix("Request")
    rows = [(names.get(one["api_key"], f"API {one['api_key']}"), one) for one in found["api_keys"]]
    return {name: [one["min_version"], one["max_version"]] for name, one in rows}


def find(api, kind):
    for module in MODULES:
        if hasattr(module, api + kind):
            return getattr(module, api + kind)
    raise LookupError(f"no message {api}{kind}")


def message(kind, version, values):
    """With those of the values that the version has."""
    fields = {}
    for field in kind._struct._fields:
        if field.name not in values or not field.for_version_q(version):
            continue
        value = values[field.name]
        if field.is_struct_array() and value is not None:
            value = [message(getattr(kind, field.type_str), version, one) for one in value]
        fields[field.name] = as_wire(field, value)
    return kind(version=version, **fields)


def as_wire(field, value):
    if isinstance(value, dict) and "hex" in value:
        return bytes.fromhex(value["hex"])
    if isinstance(value, dict) and "records" in value:
        return batch(value)
    if field.name == "topic_id":
        return uuid.UUID(value) if value else uuid.UUID(int=0)
    return value


def batch(value):
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for i, (key, one) in enumerate(value["records"]):
        encoded = [None if text is None else text.encode() for text in (key, one)]
        builder.append(i, value["timestamp"] + i, *encoded, [])
    data = bytes(builder.build())
    return data[:-1] + bytes([data[-1] ^ 1]) if value.get("damaged") else data


def plain(found, field=None):
    """JSON: record batches as their records, bytes as hexadecimal."""
    if isinstance(found, dict):
        return {key: plain(one, key) for key, one in found.items()}
    if isinstance(found, list | tuple):
        return [plain(one, field) for one in found]
    if field == "records" and isinstance(found, bytes | bytearray | memoryview):
        return records_of(bytes(found))
    if isinstance(found, bytes | bytearray | memoryview):
        return bytes(found).hex()
    if isinstance(found, uuid.UUID):
        return str(found)
    return found


def records_of(data):
    batches, reader = [], MemoryRecords(data)
    while reader.has_next():
        one = reader.next_batch()
        rows = [[r.offset, r.timestamp, r.key and r.key.decode(), r.value and r.value.decode()] for r in one]
        batches.append({"base_offset": one.base_offset, "records": rows})
    return batches


def filled(value, kept):
    if isinstance(value, str):
        if value in kept:
            return kept[value]
        return re.sub(r"\$version", kept["$version"], value)
    if isinstance(value, list):
        return [filled(one, kept) for one in value]
    if isinstance(value, dict):
        return {key: filled(one, kept) for key, one in value.items()}
    return value


def at(found, path):
    for part in path.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    return found


def any_error(found):
    if isinstance(found, dict):
        return any((key == "error_code" and one) or any_error(one) for key, one in found.items())
    return isinstance(found, list) and any(map(any_error, found))


if __name__ == "__main__":
    main()
