"""The command ``headwater``: the broker library's command line, run by this package."""

from __future__ import annotations

import sys

from headwater import _native


def main() -> int:
    """Run the command and return its exit code."""
    return _native.cli_main(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
