"""The life of the process: what happens to open logs at its end and when it forks."""

from __future__ import annotations

import atexit
import os
import warnings

from headwater import _native


def register() -> None:
    """Called once, when the package is imported."""
    atexit.register(_at_exit)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_native.after_fork_in_child)


def _at_exit() -> None:
    """Flush what is still open, up to ``exit_timeout_ms``, and warn of what was not delivered."""
    report = _native.at_exit()
    if not report.complete:
        message = f"headwater was not closed before the end of the process: {report}"
        warnings.warn(message, RuntimeWarning, stacklevel=1)
