"""The records of `signals.bin`: what both the writer and the reader know about them.

A record is a head (RECORD), the trace's id in UTF-8, and the trace's rows as `codec` writes them; the file begins with
MAGIC and a line of JSON that says how its records were made.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 1
DATA, INDEX, MANIFEST = "signals.bin", "index.npy", "manifest.json"
MAGIC = b"distill signals\n"
RECORD = struct.Struct("<4sIIHIIId")
MARK = b"\xa7sig"
ENTRY = np.dtype("<u8")
"""The index has two rows of these: the hashes of the ids in order, and where their records begin."""


@dataclass(frozen=True)
class Record:
    """What the head of a record says; `place` and `end` are bytes from the beginning of the file."""

    place: int
    end: int
    checksum: int
    trace_id: str
    body: int
    tokens: int
    known: int
    kept: int
    nats: float


def file_head(about: dict[str, Any]) -> bytes:
    """What the file begins with."""
    return MAGIC + json.dumps(about, sort_keys=True).encode() + b"\n"


def pack(trace_id: str, body: bytes, counts: tuple[int, int, int], nats: float) -> bytes:
    """One record: `counts` are its positions, those known, and the tokens kept."""
    name = trace_id.encode()
    checksum = zlib.crc32(body, zlib.crc32(name))
    return RECORD.pack(MARK, len(body), checksum, len(name), *counts, nats) + name + body


def record_at(data: NDArray[np.uint8], place: int) -> Record | None:
    """The record that begins at a place, or None where no whole one does."""
    if place + RECORD.size > len(data):
        return None
    mark, size, checksum, name_size, tokens, known, kept, nats = RECORD.unpack_from(data.data, place)
    body = place + RECORD.size + name_size
    if mark != MARK or body + size > len(data):
        return None
    try:
        name = data[place + RECORD.size : body].tobytes().decode()
    except UnicodeDecodeError:
        return None
    return Record(place, body + size, checksum, name, body, tokens, known, kept, nats)


def intact(data: NDArray[np.uint8], record: Record) -> bool:
    """Whether a record's bytes are those that were written."""
    return zlib.crc32(data[record.place + RECORD.size : record.end].tobytes()) == record.checksum


def records(data: NDArray[np.uint8], place: int) -> Iterator[Record]:
    """The whole records from a place on, up to the first that is torn."""
    while (record := record_at(data, place)) is not None:
        if record.end == len(data) and not intact(data, record):
            return
        yield record
        place = record.end


def hashed(trace_id: str) -> int:
    """The key of a trace in the index."""
    return int.from_bytes(hashlib.blake2b(trace_id.encode(), digest_size=8).digest(), "little")
