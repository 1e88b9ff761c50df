"""What `.ci/bench` is made of: the systems that are measured, the work they do, and what is made of the figures."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
CACHE = ROOT / ".cache"
WORK = CACHE / "bench"
