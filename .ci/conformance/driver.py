"""One client's process. It reads a request a line and answers each with a line, in any order:

    {"id": 7, "step": "consume", "fields": {"consumer": "consumer", "count": 3, "wait_ms": 20000}}
    {"id": 7, "gives": [...]}   or   {"id": 7, "fails": {"code": 3, "says": ".."}}   or   {"id": 7, "not_possible": ".."}

What the client prints to its standard error is kept, for the report of a failure.
"""

import json
import os
import queue
import subprocess
import threading

# Longer than any wait that a step asks for; who passes it hangs.
ANSWER_TIMEOUT_S = 90


class Failed(Exception):
    """What a step came to, when the client refused it."""

    def __init__(self, code, says):
        super().__init__(f"{code}: {says}")
        self.code = code
        self.says = says


class NotPossible(Exception):
    """The client has no such call; why stands in the message."""


class Broken(Exception):
    """The driver is gone or does not answer."""


class Driver:
    def __init__(self, command, environment, broker, log):
        self.log = log
        self.process = subprocess.Popen(
            [*command, broker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **environment},
        )
        self.waiting = {}
        self.next_id = 0
        self.lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, step, fields):
        """Sends a step; the answer comes by `answer`."""
        with self.lock:
            self.next_id += 1
            number = self.next_id
            self.waiting[number] = queue.Queue()
        line = json.dumps({"id": number, "step": step, "fields": fields}, separators=(",", ":"))
        try:
            with self.lock:
                self.process.stdin.write(line.encode() + b"\n")
                self.process.stdin.flush()
        except OSError as error:
            raise Broken(f"the driver has ended ({self.process.poll()})") from error
        return number

    def answer(self, number):
        try:
            found = self.waiting[number].get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty:
            raise Broken(f"no answer in {ANSWER_TIMEOUT_S} s") from None
        del self.waiting[number]
        if found is None:
            raise Broken(f"the driver has ended ({self.process.poll()})")
        if "not_possible" in found:
            raise NotPossible(found["not_possible"])
        if "fails" in found:
            raise Failed(found["fails"].get("code"), found["fails"].get("says"))
        return found["gives"]

    def close(self):
        try:
            self.process.stdin.close()
            self.process.wait(timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()

    def _read(self):
        for line in self.process.stdout:
            try:
                found = json.loads(line)
            except ValueError:
                self.log.write(b"not an answer: " + line)
                continue
            waiting = self.waiting.get(found.get("id"))
            if waiting:
                waiting.put(found)
        self.process.wait()
        with self.lock:
            for waiting in self.waiting.values():
                waiting.put(None)
