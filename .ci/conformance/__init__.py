"""Real, unmodified Kafka clients against a broker: what `.ci/kafka` is made of.

`install` puts the clients into the cache, `brokers` starts who is tested, `driver` talks to one client's process,
`scenario` runs the steps of `broker/tests/kafka/*.yaml` through one, `commands` those of command-line tools, and
`matrix` shows what came of it.
"""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SUITE = ROOT / "broker" / "tests" / "kafka"
WORK = ROOT / ".cache" / "kafka"
