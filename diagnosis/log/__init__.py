"""What a logged request is, how one is named and filtered, and how a serving process logs it.

The names are imported when they are first used: a serving process that takes only `RequestLogger` needs pyarrow and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diagnosis.log.filters import Clause, Filter, parse_filter
    from diagnosis.log.logger import RequestLogger
    from diagnosis.log.records import Batch, Request, to_frame
    from diagnosis.log.sampling import Sampling, Stratum, read_sampling
    from diagnosis.log.stats import Stats

__all__ = [
    "Batch",
    "Clause",
    "Filter",
    "Request",
    "RequestLogger",
    "Sampling",
    "Stats",
    "Stratum",
    "parse_filter",
    "read_sampling",
    "to_frame",
]
_HOME = {
    **dict.fromkeys(("Clause", "Filter", "parse_filter"), "filters"),
    **dict.fromkeys(("Batch", "Request", "to_frame"), "records"),
    "RequestLogger": "logger",
    "Stats": "stats",
    **dict.fromkeys(("Sampling", "Stratum", "read_sampling"), "sampling"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
