"""What a spooled record says of a request beside its candidates: JSON, with members hidden by a keyed hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

MEMBER_KEY = "DIAGNOSIS_MEMBER_KEY"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)


def pseudonym(member: str, key: bytes) -> str:
    """What is written for a member: 128 bits of BLAKE2b (RFC 7693) under `key` (32 bytes), hexadecimal."""
    return hashlib.blake2b(member.encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()


def stretched(key: bytes) -> bytes:
    """The key of `pseudonym`, from what the environment says: 256 bits of BLAKE2b."""
    return hashlib.blake2b(key, digest_size=32).digest()


def micros(at: float | datetime) -> int:
    """Microseconds since 1970 of a time in seconds, or of a datetime; one without a zone is UTC."""
    if isinstance(at, datetime):
        return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MICRO
    return round(at * 1e6)


def _plain(value: Any) -> Any:
    """Values that JSON does not have: times by themselves, numpy's scalars and arrays as Python's, anything else as its text."""
    if isinstance(value, datetime):
        return {"$at": micros(value)}
    for name in ("tolist", "as_py", "to_pylist"):
        if hasattr(value, name):
            found = getattr(value, name)()
            return str(found) if type(found) is type(value) else found
    return list(value) if isinstance(value, (set, frozenset)) else str(value)


encode: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=_plain).encode
