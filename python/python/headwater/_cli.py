"""The command ``headwater``: the broker library's command line, run by this package."""

from __future__ import annotations

import signal
import sys

from headwater import _native


def main() -> int:
    """Run the command and return its exit code."""
    # The command handles Ctrl-C itself; Python's handler would raise once more behind it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.cli_main(["headwater", *sys.argv[1:]])
