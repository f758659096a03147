"""Two windows: the baseline and the incident."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from diagnosis.errors import WindowError


@dataclass(frozen=True)
class Window:
    """Half-open: ``since <= served_at < until``, UTC."""

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            time = getattr(self, name)
            object.__setattr__(self, name, time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC))
        if self.since >= self.until:
            raise WindowError(f"The window {self} is empty or runs backwards.", "write SINCE..UNTIL, the earlier time first.")

    def __str__(self) -> str:
        """As the command line takes it."""
        return f"{iso(self.since)}..{iso(self.until)}"

    def overlaps(self, other: Window) -> bool:
        """Whether a moment lies in both."""
        return self.since < other.until and other.since < self.until


def iso(time: datetime) -> str:
    """A UTC time as text: seconds, and more only where there is more.

    >>> iso(datetime(2026, 11, 1, 12, tzinfo=UTC))
    '2026-11-01T12:00:00Z'
    """
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_window(text: str) -> Window:
    """Read ``SINCE..UNTIL``.

    >>> str(parse_window("2026-11-01..2026-11-02T06:00Z"))
    '2026-11-01T00:00:00Z..2026-11-02T06:00:00Z'

    Raises
    ------
    WindowError
        If it is not two times, or they are the wrong way round.
    """
    since, dots, until = text.partition("..")
    if not dots:
        raise WindowError(f"{text!r} is no window.", "write SINCE..UNTIL, for example 2026-11-01..2026-11-08T12:00Z")
    times = []
    for part in (since, until):
        try:
            times.append(datetime.fromisoformat(part.strip()))
        except ValueError:
            raise WindowError(f"{part.strip()!r} is no time.", "write a date, or a time like 2026-11-01T12:00Z") from None
    return Window(*times)


def check_windows(baseline: Window, incident: Window, log: tuple[datetime, datetime] | None) -> None:
    """Whether the two can be compared at all.

    Raises
    ------
    WindowError
        If they overlap, or one lies outside the log.
    """
    if baseline.overlaps(incident):
        raise WindowError(f"The windows overlap: {baseline} and {incident}.", "end one before the other begins.")
    for name, window in (("baseline", baseline), ("incident", incident)):
        if log is None or window.until <= log[0] or window.since > log[1]:
            span = "the log is empty" if log is None else f"the log runs from {iso(log[0])} to {iso(log[1])}"
            raise WindowError(f"The {name} window {window} lies outside the log.", f"{span}.")
