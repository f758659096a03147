"""What became of the requests of a serving process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stats:
    """What became of the requests of this process. ``sent == stored + sum(lost.values()) + queued``, exactly.

    Attributes
    ----------
    seen : int
        Requests that were given to `log`, sampled or not.
    sent : int
        Those that the sample keeps.
    stored : int
        Those that are in a segment.
    lost : mapping of str to int
        Those that are not, by reason: ``queue_full``, ``too_large``, ``malformed``, ``closed``.
    queued : int
        Those that wait to be written.
    queued_bytes : int
    outcomes, outcomes_lost : int
        Outcomes that are in a segment, and that found no room.
    write_errors : int
        How often a segment was abandoned or could not be opened.
    last_error : str
        What went wrong last; empty while nothing did.
    """

    seen: int
    sent: int
    stored: int
    lost: Mapping[str, int] = field(default_factory=dict)
    queued: int = 0
    queued_bytes: int = 0
    outcomes: int = 0
    outcomes_lost: int = 0
    write_errors: int = 0
    last_error: str = ""
