"""Where golden files are, and Python in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "core" / "tests" / "golden"


def start(code: str, *arguments: object, stdin: bool = False) -> subprocess.Popen[str]:
    """Start Python on `code`, with `arguments` in `sys.argv[1:]`."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONFAULTHANDLER": "1", "PYTHONPATH": os.pathsep.join(paths)},
    )


def run(code: str, *arguments: object) -> tuple[int, str, str]:
    """Run Python on `code`: exit code, standard output, standard error."""
    with start(code, *arguments) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err
