"""Types: the stubs say what is there, and mypy agrees (where mypy is installed)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import headwater
import pytest
from support import ROOT


def test_everything_public_is_documented() -> None:
    for name in headwater.__all__:
        thing = getattr(headwater, name)
        if isinstance(thing, str):
            continue
        assert thing.__doc__, name
        for member, value in vars(thing).items():
            if not member.startswith("_") and callable(value) and not issubclass(thing, tuple):
                assert getattr(thing, member).__doc__, f"{name}.{member}"


def mypy(*arguments: str) -> None:
    pytest.importorskip("mypy")
    cache = ROOT / ".cache" / "mypy"
    env = {**os.environ, "MYPYPATH": str(Path("python")), "MYPY_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT / "python",
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_strict_passes() -> None:
    mypy("mypy", "--strict")


def test_stubs_are_those_of_the_native_module() -> None:
    allowlist = ROOT / "python" / "tests" / "stubtest_allowlist.txt"
    config = ["--mypy-config-file", "pyproject.toml"]
    mypy("mypy.stubtest", "headwater._native", "--allowlist", str(allowlist), *config)
