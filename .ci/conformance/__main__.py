"""kafka [--client NAME ...] [--against headwater|apache] [--scenario TEXT] [--light] [--json] [--table FILE]: real,
unmodified Kafka clients do what broker/tests/kafka tells, against a broker of ours or against Apache Kafka.

Installs what is needed into .cache/kafka, starts the broker, and prints which client can do what. Exits with 1 if a
cell failed, and with 3 if a client cannot be installed here.
"""

import argparse
import concurrent.futures
import itertools
import json
import sys
import time

import yaml

from . import ROOT, SUITE, WORK, matrix, programs, scenario, session
from .brokers import BROKERS
from .clients import CLIENTS
from .driver import Broken, Driver
from .install import Missing

FILES = ("records", "reading", "groups", "admin")
NOT_AVAILABLE = 3
DEATHS_MAX = 3


def main():
    args = arguments()
    if args.session:
        sys.exit(session.record() if args.record else 1 if session.compare() else 0)
    chosen = [one for one in CLIENTS if (not args.client or one.name in args.client) and (one.is_light or not args.light)]
    scenarios = [one for name in FILES for one in read(name) if args.scenario in one["name"]]
    begun = time.monotonic()
    results, missing = [], []
    started = {}
    for client in chosen:
        try:
            started[client.name] = (client.start or client.programs)()
        except Missing as error:
            missing.append(client.name)
            print(f"kafka: {client.name} is left out: {error}", file=sys.stderr)
    WORK.mkdir(parents=True, exist_ok=True)
    with BROKERS[args.against]() as broker, concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        jobs = []
        for client in chosen:
            if client.name in started:
                jobs.append(pool.submit(run, client, started[client.name], scenarios, broker, args))
        for job in concurrent.futures.as_completed(jobs):
            results += job.result()
    order = {one.name: i for i, one in enumerate(chosen)}
    results.sort(key=lambda one: order[one["client"]])
    table = matrix.Matrix([one for one in chosen if one.name in started], results)
    if not args.json:
        print(table.text())
    if args.table:
        (ROOT / args.table).write_text(table.markdown())
    passed, failed, impossible = table.counts()
    print(
        f"kafka: {passed} passed, {failed} failed, {impossible} not possible with the client, "
        f"against {args.against}, {time.monotonic() - begun:.0f} s",
        file=sys.stderr,
    )
    if not results:
        sys.exit(f"error: nothing was run: no scenario has `{args.scenario}` in its name")
    sys.exit(1 if failed else NOT_AVAILABLE if missing and not args.client else 0)


def arguments():
    parser = argparse.ArgumentParser(prog=".ci/kafka", description=__doc__.split("\n\n")[0])
    names = [one.name for one in CLIENTS]
    parser.add_argument("--client", nargs="+", choices=names, metavar="NAME", help=f"only these of {', '.join(names)}")
    parser.add_argument("--against", choices=sorted(BROKERS), default="headwater")
    parser.add_argument("--scenario", metavar="TEXT", default="", help="only scenarios with this in their names")
    parser.add_argument("--light", action="store_true", help="only clients that need neither a compiler nor a JVM")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each cell instead of the table")
    parser.add_argument("--table", metavar="FILE", help="write the matrix as Markdown too")
    parser.add_argument("--session", action="store_true", help="instead, the session of raw requests, field by field")
    parser.add_argument("--record", action="store_true", help="with --session: ask Apache Kafka for its answers anew")
    parser.add_argument("--jobs", type=int, default=4, help="how many clients run side by side (default 4)")
    return parser.parse_args()


def read(name):
    return yaml.safe_load((SUITE / f"{name}.yaml").read_text(encoding="utf-8"))


def run(client, started, scenarios, broker, args):
    """All scenarios of one client, one after the other."""
    results = []
    with open(WORK / f"{client.name}.log", "wb") as log:
        if client.programs:
            found = programs.run_all(read("programs"), client, started, broker, args.scenario, log)
        else:
            found = drive(client, started, scenarios, broker, log)
        for name, outcome, why, seconds in found:
            cell = {"scenario": name, "client": client.name, "outcome": outcome, "why": why, "seconds": round(seconds, 2)}
            results.append(cell)
            if args.json:
                print(json.dumps(cell), flush=True)
    return results


def drive(client, started, scenarios, broker, log):
    command, environment = started
    numbers, deaths = itertools.count(1), 0
    driver = Driver(command, environment, broker.address, log)
    try:
        for one in scenarios:
            log.write(f"== {one['name']}\n".encode())
            log.flush()
            begun = time.monotonic()
            outcome, why = scenario.run(one, client.name, driver, f".{client.name}-{next(numbers)}")
            if outcome == "failed" and (driver.process.poll() is not None or "no answer" in why):
                # Whatever it was, the next scenario is not to suffer from it; and one that cannot live is left alone.
                driver.close()
                driver = Driver(command, environment, broker.address, log)
                deaths += 1
            yield one["name"], outcome, why, time.monotonic() - begun
            if deaths == DEATHS_MAX:
                raise Broken(f"it ended or hung {deaths} times; the other scenarios are left out")
    except Broken as error:
        yield "the driver", "failed", str(error), 0
    finally:
        driver.close()


if __name__ == "__main__":
    main()
