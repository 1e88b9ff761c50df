"""Puts Apache Kafka and the clients into `.cache/kafka`, each pinned by the file that it is made from, and made anew
when that file changes. Downloads are kept with the tools, as everything that package managers fetch.
"""

import hashlib
import os
import shutil
import subprocess
import sys

from . import ROOT, SUITE, WORK

TOOLS = ROOT / os.environ.get("HEADWATER_TOOLS", ".tools")
DOWNLOADS = TOOLS / "downloads"
COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class Missing(Exception):
    """This machine lacks what a client needs; the message says what."""


def need(program, what):
    found = shutil.which(program)
    if not found:
        raise Missing(f"no {program} ({what})")
    return found


def once(name, made_from, fill):
    """`fill(folder)` makes the folder, unless it is there and made from files of the same contents."""
    folder = WORK / name
    mark = WORK / f"{name}.made-for"
    made_for = hashlib.sha256(b"\0".join(path.read_bytes() for path in made_from)).hexdigest()
    if not folder.is_dir() or not mark.is_file() or mark.read_text() != made_for:
        print(f"kafka: making {folder.relative_to(ROOT)}", file=sys.stderr)
        WORK.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        mark.unlink(missing_ok=True)
        fill(folder)
        mark.write_text(made_for)
    return folder


def run(command, **more):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-4000:]}")


def jars():
    """Apache Kafka: its server, its Java client and its tools."""
    need("java", "a JDK, 17 or later")
    pom = ROOT / ".ci" / "kafka-pom.xml"

    def fill(folder):
        # `-Dstyle.color`, and no terminal: Maven would colour what it has nothing to say.
        run([
            need("mvn", "Maven"), "--quiet", "--batch-mode", "-Dstyle.color=never", "--file", pom,
            f"-Dmaven.repo.local={DOWNLOADS / 'maven'}", COPY_JARS, "-DincludeScope=runtime", f"-DoutputDirectory={folder}",
        ], stdin=subprocess.DEVNULL)  # fmt: skip

    return once("jars", [pom], fill)


def java_driver():
    source = SUITE / "java" / "Driver.java"
    path = f"{jars()}/*"

    def fill(folder):
        run([need("javac", "a JDK, 17 or later"), "-cp", path, "-d", folder, source])

    return f"{once('java', [ROOT / '.ci' / 'kafka-pom.xml', source], fill)}:{path}"


def python():
    requirements = SUITE / "python" / "requirements.txt"

    def fill(folder):
        run([sys.executable, "-m", "venv", folder])
        environment = {**os.environ, "PIP_CACHE_DIR": str(DOWNLOADS / "pip")}
        pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
        run([*pip, "-r", requirements], env=environment)

    return once("python", [requirements], fill) / "bin" / "python"


def node():
    """The drivers beside their modules: Node looks for these next to the program."""
    need("node", "Node.js")
    files = sorted(path for path in (SUITE / "node").iterdir() if path.is_file())

    def fill(folder):
        folder.mkdir()
        for path in files:
            shutil.copy(path, folder)
        environment = {**os.environ, "npm_config_cache": str(DOWNLOADS / "npm")}
        run([need("npm", "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, env=environment)

    manifests = [path for path in files if path.suffix == ".json"]
    folder = once("node", manifests, fill)
    for path in files:
        shutil.copy(path, folder)
    return folder


def kcat():
    """The one on PATH, or Debian's package, unpacked: installing it needs no root then."""
    found = shutil.which("kcat")
    if found:
        return found, {}
    need("apt-get", "kcat is not installed, and only Debian's package is known here")
    # The package, in the version of the release, and what of its dependencies a Debian without it lacks.
    packages = ["kcat", "librdkafka1", "libyajl2"]

    def fill(folder):
        downloads = folder / "downloads"
        downloads.mkdir(parents=True)
        try:
            run(["apt-get", "download", *packages], cwd=downloads)
        except RuntimeError:
            try:
                run(["apt-get", "update"])
                run(["apt-get", "download", *packages], cwd=downloads)
            except RuntimeError as error:
                raise Missing(f"kcat is not installed, and its package cannot be had: {error}") from error
        for package in downloads.glob("*.deb"):
            run(["dpkg-deb", "-x", package, folder])
        shutil.rmtree(downloads)

    folder = once("kcat", [], fill)
    libraries = ":".join(str(path) for path in sorted((folder / "usr" / "lib").iterdir()) if path.is_dir())
    return str(folder / "usr" / "bin" / "kcat"), {"LD_LIBRARY_PATH": libraries}


def go_driver():
    files = [SUITE / "go" / name for name in ("go.mod", "go.sum", "main.go", "admin.go", "commit.go")]

    def fill(folder):
        folder.mkdir()
        environment = {
            **os.environ,
            "GOFLAGS": "-mod=readonly",
            "GOTOOLCHAIN": "local",
            "GOMODCACHE": str(DOWNLOADS / "go"),
            "GOCACHE": str(WORK / "go-build"),
            "CGO_ENABLED": "0",
        }
        run([need("go", "Go, 1.24 or later"), "build", "-o", folder / "driver", "."], cwd=SUITE / "go", env=environment)

    return once("go", files, fill) / "driver"


def rust_driver():
    files = [SUITE / "rust" / name for name in ("Cargo.toml", "Cargo.lock", "src/main.rs")]

    def fill(folder):
        folder.mkdir()
        target = WORK / "rust-target"
        command = ["cargo", "build", "--locked", "--quiet", "--target-dir", target]
        run([*command, "--manifest-path", SUITE / "rust" / "Cargo.toml"])
        shutil.copy(target / "debug" / "kafka-driver", folder / "driver")

    return once("rust", files, fill) / "driver"




def kcat_programs():
    program, environment = kcat()
    return lambda name: [program], environment


# The main class of each tool, as the scripts of Apache Kafka's distribution name them.
MAIN_CLASSES = {
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "kafka-verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
}


def apache_programs():
    path = f"{jars()}/*"
    java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return lambda name: [*java, log, "-cp", path, MAIN_CLASSES[name]], {}
