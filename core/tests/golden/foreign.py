"""Makes the golden batches whose frames other programs write: gzip of Python's zlib, snappy of python-snappy and kafka-python.

    pip install python-snappy kafka-python
    python core/tests/golden/foreign.py

The records are those of `batch/gzip.bin`, which is ours; `HEADWATER_BLESS=1 cargo test -p headwater --test integration golden`
writes the descriptions anew.
"""

import gzip
import pathlib
import struct

import snappy
from kafka.codec import snappy_encode

HEADER_BYTES = 61
BATCH = pathlib.Path(__file__).parent / "batch"
CODECS = {"gzip": 1, "snappy": 2}


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def write(name: str, codec: str, frame: bytes) -> None:
    """The batch with this frame behind its header: length, codec and checksum put right."""
    batch = bytearray(OURS[:HEADER_BYTES] + frame)
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">h", batch, 21, CODECS[codec])
    struct.pack_into(">I", batch, 17, crc32c(bytes(batch[21:])))
    (BATCH / f"{name}.bin").write_bytes(batch)


def named_gzip(data: bytes) -> bytes:
    class Sink(bytearray):
        def write(self, more: bytes) -> None:
            self.extend(more)

        def flush(self) -> None:
            pass

    sink = Sink()
    with gzip.GzipFile("records.bin", "wb", 9, sink, mtime=1_700_000_000) as file:
        file.write(data)
    return bytes(sink)


OURS = (BATCH / "gzip.bin").read_bytes()
RECORDS = gzip.decompress(OURS[HEADER_BYTES:])

write("gzip_python", "gzip", named_gzip(RECORDS))
write("snappy_raw", "snappy", snappy.compress(RECORDS))
write("snappy_framed", "snappy", snappy_encode(RECORDS, xerial_compatible=True, xerial_blocksize=300))
