"""Runs the steps of `programs.yaml`: programs as a person starts them, and what they print."""

import json
import os
import re
import shlex
import subprocess
import time

TIMEOUT_S = 90


class Wrong(Exception):
    """A program ended or printed something else than it was to."""


def run_all(scenarios, client, started, broker, text, log):
    """Yields `(name, outcome, why, seconds)` for each scenario of this client's programs."""
    commands, environment = started
    for number, scenario in enumerate(scenarios, 1):
        if scenario["program"] != client.name or text not in scenario["name"]:
            continue
        begun = time.monotonic()
        outcome, why = "passed", None
        try:
            for step in scenario["steps"]:
                run(step, commands, environment, broker, f".{client.name}-{number}", log)
        except Wrong as error:
            outcome, why = "failed", str(error)
        yield scenario["name"], outcome, why, time.monotonic() - begun


def run(step, commands, environment, broker, suffix, log):
    fill = lambda text: re.sub(r"@([a-z]+)", rf"\1{suffix}", text.replace("$broker", broker.address))
    words = [fill(word) for word in shlex.split(step["run"].replace("\\", "\\\\"))]
    command = [*commands(words[0]), *words[1:]]
    try:
        done = subprocess.run(
            command,
            input=step.get("input", ""),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise Wrong(f"{step['run']}: does not end in {TIMEOUT_S} s; it printed {error.stdout!r}") from error
    log.write(f"== {' '.join(words)}\n{done.stdout}{done.stderr}".encode())
    if (done.returncode != 0) != step.get("fails", False):
        raise Wrong(f"{step['run']}: exit code {done.returncode}: {(done.stderr + done.stdout)[-800:]}")
    wanted = json.loads(fill(json.dumps(step.get("prints"))))
    found = done.stdout.splitlines()
    if isinstance(wanted, list) and wanted != found:
        raise Wrong(f"{step['run']}: is to print {wanted}, and printed {found[:20]}; {done.stderr[-400:]}")
    everything = done.stdout + done.stderr
    for part in wanted.get("has", []) if isinstance(wanted, dict) else []:
        if part not in everything:
            raise Wrong(f"{step['run']}: is to print `{part}`, and printed {everything[-800:]}")
