"""What the drivers in Python share: a request a line in, an answer a line out, each request on a thread of its own."""

import base64
import json
import sys
import threading
import time
import traceback

IDLE_MS = 1_500
WAIT_MS = 25_000


class NotPossible(Exception):
    """The client has no such call."""


class Refused(Exception):
    """What the broker answered, where the client returns it instead of raising it."""

    def __init__(self, code, says=""):
        super().__init__(f"{code} {says}")
        self.code = code


def serve(client, code_of):
    """Answers by `client.STEP(**fields)`; `code_of(error)` is Kafka's number for what was raised."""
    writing = threading.Lock()

    def answer(request):
        out = {"id": request["id"]}
        try:
            step = getattr(client, request["step"], None)
            if step is None:
                raise NotPossible(f"no such call: {request['step']}")
            out["gives"] = step(**request["fields"])
        except NotPossible as error:
            out["not_possible"] = str(error)
        except Refused as error:
            out["fails"] = {"code": error.code, "says": str(error)}
        except Exception as error:
            code = code_of(error)
            if code is None:
                traceback.print_exc()
            out["fails"] = {"code": code, "says": f"{type(error).__name__}: {error}"}
        with writing:
            sys.stdout.write(json.dumps(out) + "\n")
            sys.stdout.flush()

    for line in sys.stdin:
        threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()


def decoded(text):
    return None if text is None else base64.b64decode(text)


def encoded(data):
    return None if data is None else base64.b64encode(data).decode()


def record_of(topic, partition, offset, timestamp, key, value, headers):
    return {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp,
        "key": encoded(key),
        "value": encoded(value),
        "headers": [[name, encoded(one)] for name, one in headers or []],
    }


class Looping:
    """A consumer that reads, keeps and commits on a thread of its own until it is stopped; no other thread touches it."""

    def __init__(self, poll, commit, assignment):
        self.records = []
        self.assignment = []
        self.error = None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(poll, commit, assignment), daemon=True)
        self.thread.start()

    def run(self, poll, commit, assignment):
        while not self.stopped.is_set():
            try:
                found = poll()
                if found:
                    commit()
                    self.records += found
                self.assignment = assignment()
            except Exception as error:
                self.error = error
                traceback.print_exc()

    def stop(self):
        self.stopped.set()
        self.thread.join()


def gather(poll, count, wait_ms):
    """Polls until `count` records are there, or nothing has come for `wait_ms`."""
    records = []
    wait_ms = wait_ms or (IDLE_MS if count is None else WAIT_MS)
    deadline = time.monotonic() + wait_ms / 1000
    while (count is None or len(records) < count) and time.monotonic() < deadline:
        found = poll(None if count is None else count - len(records))
        records += found
        if found and count is None:
            deadline = time.monotonic() + wait_ms / 1000
    return records
