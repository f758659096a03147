"""Deletion vectors as another engine writes them (Delta Lake protocol, "Deletion Vector Format"): the library that we write with makes none."""

from __future__ import annotations

import json
import struct
import time
import uuid
import zlib
from pathlib import Path

_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_FEATURE = ["deletionVectors"]


def z85(data: bytes) -> str:
    """Base 85 as ZeroMQ spells it, padded with zeros to whole words."""
    text = ""
    for word in struct.iter_unpack(">I", data + bytes(-len(data) % 4)):
        text += "".join(_Z85[word[0] // 85**place % 85] for place in (4, 3, 2, 1, 0))
    return text


def bitmap(rows) -> bytes:
    """A 64-bit Roaring bitmap of array containers, in the portable format, with the magic number of the protocol before it."""
    keys = sorted({row >> 16 for row in rows})
    held = {key: b"".join(struct.pack("<H", row & 0xFFFF) for row in sorted(rows) if row >> 16 == key) for key in keys}
    body = struct.pack("<II", 12346, len(keys)) + b"".join(struct.pack("<HH", key, len(held[key]) // 2 - 1) for key in keys)
    at = len(body) + 4 * len(keys)
    for key in keys:
        body += struct.pack("<I", at)
        at += len(held[key])
    return struct.pack("<IQI", 1681511377, 1, 0) + body + b"".join(held.values())


def delete(table: Path, file: str, rows, *, inline: bool = True) -> None:
    """Mark rows of a file of the table as deleted, by a commit of its own."""
    log = table / "_delta_log"
    commits = sorted(log.glob("*.json"))
    actions = [json.loads(line) for commit in commits for line in commit.read_text().splitlines()]
    added = next(action["add"] for action in reversed(actions) if action.get("add", {}).get("path") == file)
    data = bitmap(rows)
    vector = {"sizeInBytes": len(data), "cardinality": len(rows)}
    if inline:
        vector |= {"storageType": "i", "pathOrInlineDv": z85(data)}
    else:
        name = uuid.uuid4()
        framed = b"\x01" + struct.pack(">I", len(data)) + data + struct.pack(">I", zlib.crc32(data))
        (table / f"deletion_vector_{name}.bin").write_bytes(framed)
        vector |= {"storageType": "u", "pathOrInlineDv": z85(name.bytes), "offset": 1}
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": _FEATURE, "writerFeatures": _FEATURE}
    removed = {"path": file, "deletionTimestamp": int(time.time() * 1000), "dataChange": True}
    removed |= {"extendedFileMetadata": True, "partitionValues": added["partitionValues"], "size": added["size"]}
    if "deletionVector" in added:
        removed["deletionVector"] = added["deletionVector"]
    lines = [{"protocol": protocol}, {"remove": removed}, {"add": {**added, "deletionVector": vector}}]
    (log / f"{len(commits):020}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
