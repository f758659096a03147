"""How a hotfix document is written and sealed, what must hold before it is applied, and which requests it means.

Needs the standard library and ``cryptography``, as the client does that stands on it. A document is
``{"hotfix": {…}, "signatures": [{"key": …, "signature": …}, …]}``, written canonically (keys sorted, no spaces, ASCII), so that no byte of
it can change unnoticed. Signatures are Ed25519 (RFC 8032) over `DOMAIN` and the canonical hotfix, keys and signatures hexadecimal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT, DOMAIN = 1, b"diagnosis hotfix 1\n"
LIMIT = 65_536  # bytes of a document
LONGEST = timedelta(days=7)  # that one may be valid
SKEW = timedelta(minutes=5)  # by which the clock of whoever prepared it may be ahead
OPERATORS = ("=", "!=", ">=", "<=", ">", "<")
KINDS = {  # what an action must say, beside its slice and its share of the traffic
    "pin_model": ("model", "version"),
    "pin_ruleset": ("version",),
    "set_feature": ("feature", "to", "value", "before"),
    "retriever_off": ("retriever",),
    "block_item": ("item",),
    "pin_item": ("item", "position"),
    "fallback": ("fallback",),
    "roll_back": ("what", "to"),
}


class Refused(ValueError):
    """A document that must not be applied, and why."""


def canonical(value: Any) -> bytes:
    """The one way to write a JSON value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def opened(raw: bytes, keys: Collection[str], threshold: int) -> dict[str, Any]:
    """The hotfix in a document; every signature is by another trusted key, and good, and there are enough.

    Parameters
    ----------
    keys : collection of str
        Trusted public keys.

    Raises
    ------
    Refused
    """
    _must(len(raw) <= LIMIT, f"longer than {LIMIT} bytes")
    try:
        document = json.loads(raw)
        fix, listed = document["hotfix"], [(s["key"], bytes.fromhex(s["signature"])) for s in document["signatures"]]
        whole = {"hotfix": fix, "signatures": [{"key": key, "signature": signature.hex()} for key, signature in listed]}
        _must(canonical(whole) == raw and isinstance(fix, dict), "not written canonically")
        _must(len(dict(listed)) == len(listed), "signed twice by one key")
        _must(set(dict(listed)) <= set(keys), "signed by a key that is not trusted")
        for key, signature in listed:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, DOMAIN + canonical(fix))
    except InvalidSignature:
        raise Refused("a signature does not fit the document") from None
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise error if isinstance(error, Refused) else Refused(f"malformed ({type(error).__name__})") from None
    _must(len(listed) >= max(threshold, 1), f"{len(listed)} of {threshold} signatures")
    return dict(fix)


def fits(fix: dict[str, Any], workspace: str, environment: str, now: datetime) -> dict[str, Any]:
    """The hotfix, if it is meant for here and now, and every action of it is known.

    Raises
    ------
    Refused
    """
    try:
        since, until = (datetime.fromisoformat(fix[name]) for name in ("created_at", "expires_at"))
        _must(fix["format"] == FORMAT, f"format {fix['format']} is not known")
        _must(type(fix["serial"]) is int and fix["serial"] > 0 and 0 < fix["max_share"] <= 1, "malformed")
        _must((fix["workspace"], fix["environment"]) == (workspace, environment), "for another workspace or environment")
        for action in fix["actions"]:
            _must(action["kind"] in KINDS, f"action {action['kind']!r} is not known")
            _must(set(action) == {"kind", "where", "share", *KINDS[action["kind"]]} and 0 < action["share"] <= 1, "malformed action")
            _must(all(len(c) == 3 and c[1] in OPERATORS and c[2] for c in action["where"]), "malformed slice")
        _must(now >= since - SKEW, "not valid yet")
        _must(until - since <= LONGEST, f"valid for more than {LONGEST.days} days")
        _must(now < until, "expired")
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise error if isinstance(error, Refused) else Refused(f"malformed ({type(error).__name__})") from None
    return fix


def drawn(request_id: Any, salt: str) -> float:
    """A number in [0, 1), always the same for a request: which share of the traffic it falls into."""
    return int.from_bytes(hashlib.sha256(f"{salt}\0{request_id}".encode(errors="replace")).digest()[:8], "big") / 2**64


def holds(where: Sequence[Any], request: Mapping[str, Any]) -> bool:
    """Whether every ``[attribute, operator, values]`` holds; none does of what the request does not tell. Values are text, null is None."""
    return all(name in request and _holds(operator, values, request[name]) for name, operator, values in where)


def _holds(operator: str, values: Sequence[Any], have: Any) -> bool:
    if operator in ("=", "!="):
        text = str(have).lower() if isinstance(have, bool) else f"{have:.15g}" if isinstance(have, (int, float)) else have
        return (text in values) == (operator == "=")
    try:
        apart = float(have) - float(values[0])
    except (TypeError, ValueError):
        return False
    return {">=": apart >= 0, "<=": apart <= 0, ">": apart > 0, "<": apart < 0}[operator]


def _must(fine: bool, wrong: str) -> None:
    if not fine:
        raise Refused(wrong)
