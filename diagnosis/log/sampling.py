"""Which requests are kept, and with which probability: decided alike by every service that sees the request.

A request is kept if and only if ``place(id, salt) < keep_probability``, so samples of different rates are nested, and services that agree
on salt and rates keep the same requests (permanent random numbers: Ohlsson 1995). The probability that was in force stands on the row.
Where a rate adapts to load, it depends on how many requests came before and never on which of them were kept: so it is exact.
"""

from __future__ import annotations

import hashlib
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

Unit = Literal["request", "member"]
PERIOD_S = 60.0  # how often an adaptive rate is set anew
LAUNCH_S = 7 * 86400.0  # an item's launch week
_LEAST = 1e-9
_MOST_STRATA = 10_000
OTHER = "(other)"


def place(text: str, salt: bytes = b"") -> float:
    """Where a request or a member stands in [0, 1): 53 bits of BLAKE2b (RFC 7693), keyed by `salt`, first 8 bytes, little endian.

    >>> place("r1") == place("r1"), place("r1") == place("r1", b"other")
    (True, False)
    """
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=salt, digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


@dataclass(frozen=True)
class Stratum:
    """Rates for the requests whose attributes match.

    Attributes
    ----------
    match : mapping of str to tuple of str
        Attribute and the values that it may have; all must hold. Empty matches everything.
    rate : float in (0, 1]
        Target.
    minimum_per_hour : float
        The rate rises where the target would keep fewer requests an hour.
    budget_per_hour : float or None
        The rate falls where it would keep more; the budget wins over the minimum.
    unit : {"request", "member"}
        What is drawn. With ``member``, a member is in the sample with all requests or with none (a panel); requests of nobody are drawn
        one by one.
    """

    match: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rate: float = 1.0
    minimum_per_hour: float = 0.0
    budget_per_hour: float | None = None
    unit: Unit = "request"

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate lies in (0, 1], but is {self.rate!r}")
        if not self.minimum_per_hour >= 0 or (self.budget_per_hour is not None and not self.budget_per_hour > 0):
            raise ValueError("minimum_per_hour is not negative, and budget_per_hour is more than nothing")
        if self.unit not in ("request", "member"):
            raise ValueError(f"unit is 'request' or 'member', but is {self.unit!r}")
        if self.unit == "member" and (self.minimum_per_hour or self.budget_per_hour is not None):
            raise ValueError("a panel of members has a fixed rate: who is in it must not change with the load")

    @property
    def adapts(self) -> bool:
        """Whether the rate depends on the load."""
        return self.minimum_per_hour > 0 or self.budget_per_hour is not None


@dataclass(frozen=True)
class Sampling:
    """How a serving process samples.

    Attributes
    ----------
    by : tuple of str
        Attributes whose values, together, are the stratum that is counted and written.
    strata : tuple of Stratum
        The first that matches gives the rate; `default` where none does.
    always_status, always_members, always_items : frozenset of str
        Requests with one of these statuses, of one of these members (as the service knows them), or with one of these items among the
        candidates are kept with probability 1.
    launched : mapping of str to float
        Items and when they launch, in seconds since 1970: in the week from then on, requests that have one among the candidates are kept
        with probability 1. Looking for items costs some 12 µs for 200 candidates, also of requests that are not kept.
    salt : str
        At most 64 bytes; the same in all services that are to keep the same requests.
    """

    by: tuple[str, ...] = ("task",)
    strata: tuple[Stratum, ...] = ()
    default: Stratum = Stratum()
    always_status: frozenset[str] = frozenset({"fallback", "error", "timeout"})
    always_members: frozenset[str] = frozenset()
    always_items: frozenset[str] = frozenset()
    launched: Mapping[str, float] = field(default_factory=dict)
    salt: str = ""

    def __post_init__(self) -> None:
        if len(self.salt.encode()) > 64:
            raise ValueError("a salt has at most 64 bytes")

    def keeps_items(self, items: Sequence[str], at: float) -> bool:
        """Whether one of the items is always kept, or launched less than a week before `at` (seconds since 1970).

        >>> Sampling(launched={"new": 1000.0}).keeps_items(["old", "new"], 1000.0), Sampling(launched={"new": 1000.0}).keeps_items(["new"], 999.0)
        (True, False)
        """
        if not self.always_items.isdisjoint(items):
            return True
        launched = self.launched
        if launched.keys().isdisjoint(items):
            return False
        return any(0 <= at - launched[item] < LAUNCH_S for item in items if item in launched)


EVERYTHING = Sampling()


def read_sampling(file: str | Path) -> Sampling:
    """Sampling from a TOML file.

    Keys: ``salt``, ``by``, ``rate``, ``minimum_per_hour``, ``budget_per_hour``, ``unit`` (of requests that no stratum matches); tables
    ``[[stratum]]`` with the same rates and ``match = {device = ["tv"]}``; and ``[always]`` with ``status``, ``members``, ``items``,
    ``launched`` (a table of items and times) and ``launches``, a file beside this one whose table ``[launched]`` is added: what
    ``diagnosis sampling launches`` prints.

    Raises
    ------
    ValueError
        If a key is unknown or a value is out of range; names the key.
    OSError
        If a file is not there.
    """
    values = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    listed = values.get("always", {}).pop("launches", None)
    if listed is not None:
        more = tomllib.loads((Path(file).parent / listed).read_text(encoding="utf-8"))
        _known(more, ("launched",), f"{listed}: ")
        values["always"]["launched"] = {**values["always"].get("launched", {}), **more.get("launched", {})}
    return sampling_from(values)


def sampling_from(values: Mapping[str, Any]) -> Sampling:
    """Sampling from the keys of the file.

    >>> sampling_from({"rate": 0.1, "stratum": [{"match": {"device": "tv"}, "rate": 0.5}]}).strata[0].rate
    0.5

    Raises
    ------
    ValueError
        See `read_sampling`.
    """
    rates = ("rate", "minimum_per_hour", "budget_per_hour", "unit")
    _known(values, ("salt", "by", "stratum", "always", *rates), "")
    always = values.get("always", {})
    _known(always, ("status", "members", "items", "launched"), "always.")
    strata = []
    for entry in values.get("stratum", ()):
        _known(entry, ("match", *rates), "stratum.")
        match = {name: _words(found) for name, found in entry.get("match", {}).items()}
        strata.append(Stratum(match, **{key: entry[key] for key in rates if key in entry}))
    return Sampling(
        by=_words(values.get("by", ("task",))),
        strata=tuple(strata),
        default=Stratum(**{key: values[key] for key in rates if key in values}),
        always_status=frozenset(_words(always.get("status", EVERYTHING.always_status))),
        always_members=frozenset(_words(always.get("members", ()))),
        always_items=frozenset(_words(always.get("items", ()))),
        launched={item: _seconds(item, at) for item, at in always.get("launched", {}).items()},
        salt=str(values.get("salt", "")),
    )


def _seconds(item: str, at: Any) -> float:
    if not isinstance(at, datetime):
        raise ValueError(f"always.launched.{item} is no time, but {at!r}; write 2026-11-01T00:00:00Z")
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _known(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise ValueError(f"{where}{key} is no setting of sampling; there are {', '.join(known)}")


def _words(found: Any) -> tuple[str, ...]:
    return (found,) if isinstance(found, str) else tuple(str(value) for value in found)


class Cell:
    """One stratum in a running process: its rate now, and what was seen, kept and lost of it since it was last told."""

    __slots__ = ("_began", "_expected", "_in_period", "attributes", "hour", "lost", "name", "rates", "seen", "sent")

    def __init__(self, name: str, attributes: Mapping[str, str | None], rates: Stratum) -> None:
        self.name, self.attributes, self.rates = name, attributes, rates
        self.hour, self.seen, self.sent, self.lost = 0, 0, 0, 0
        self._began, self._in_period = time.monotonic(), 0  # a clock that does not step
        self._expected: float | None = None

    @property
    def unit(self) -> Unit:
        """What is drawn."""
        return self.rates.unit

    def probability(self) -> float:
        """The rate in force for the request that comes now; counts the request."""
        if not self.rates.adapts:
            return self.rates.rate
        now = time.monotonic()
        if now - self._began >= PERIOD_S:
            self._next_period(now)
        n = self._in_period
        self._in_period = n + 1
        return adapted(self.rates, n, self._expected)

    def _next_period(self, now: float) -> None:
        """What the period that ended says about the next: half of it, half of those before; none of it after a long silence."""
        speed = self._in_period * PERIOD_S / (now - self._began)
        self._expected = speed if self._expected is None else 0.5 * (speed + self._expected)
        self._began, self._in_period = now, 0


def adapted(rates: Stratum, n: int, expected: float | None) -> float:
    """The rate after `n` requests of a period in which `expected` were expected; None in the first."""
    least, most = rates.minimum_per_hour * PERIOD_S / 3600, rates.budget_per_hour
    if expected is None:
        rate = 1.0 if n < least else rates.rate
        expected = n + 1.0
    else:
        rate = max(rates.rate, least / max(expected, 1e-9))
    if most is not None:
        rate = min(rate, most * PERIOD_S / 3600 / max(expected, n / 2.0, 1.0))  # a crowd that nobody expected lowers it at once
    return min(1.0, max(_LEAST, rate))


class Cells:
    """All strata of a running process; made as their values appear."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.salt = sampling.salt.encode()
        self._by_value: dict[Any, Cell] = {}
        self._by_name: dict[tuple[str, int], Cell] = {}
        asked = dict.fromkeys([*sampling.by, *(name for stratum in sampling.strata for name in stratum.match)])
        self._others = tuple(name for name in asked if name not in ("task", "status"))

    def of(self, task: str, status: str, request: Mapping[str, Any]) -> Cell:
        """The stratum of a request."""
        others = self._others
        key = (task, status, *[request.get(name) for name in others]) if others else (task, status)
        try:
            return self._by_value[key]
        except KeyError:
            return self._made(key, task, status, request)

    def all(self) -> list[Cell]:
        """Every stratum there is, once."""
        return list(self._by_name.values())

    def panels(self) -> frozenset[str]:
        """Strata that draw members, whole; `volumes` say so in a column ``unit``, so that one knows of whom every request is logged."""
        cells = self.all()
        return frozenset({cell.name for cell in cells} - {cell.name for cell in cells if cell.unit != "member"})

    def _made(self, key: Any, task: str, status: str, request: Mapping[str, Any]) -> Cell:
        values = {**request, "task": task, "status": status}
        attributes = {name: None if values.get(name) is None else _unicode(str(values[name])) for name in self.sampling.by}
        if len(self._by_name) >= _MOST_STRATA:
            attributes = dict.fromkeys(self.sampling.by, OTHER)
        rates = next((s for s in self.sampling.strata if _matches(s, values)), self.sampling.default)
        name = "/".join(_spelled(value) for value in attributes.values()) or "all"
        cell = self._by_name.get((name, id(rates)))  # values may differ only in attributes that no stratum is named by
        if cell is None:
            cell = self._by_name[name, id(rates)] = Cell(name, attributes, rates)
        if len(self._by_value) < 2 * _MOST_STRATA:
            self._by_value[key] = cell
        return cell


def _spelled(value: str | None) -> str:
    """A value within the name of a stratum: no two lists of values have one name."""
    if value is None:
        return "–"
    text = value.replace("\\", "\\\\").replace("/", "\\/")
    return f"\\{text}" if text == "–" else text


def _unicode(text: str) -> str:
    """Without halves of surrogate pairs, which no table can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _matches(stratum: Stratum, values: Mapping[str, Any]) -> bool:
    return all(values.get(name) is not None and str(values[name]) in wanted for name, wanted in stratum.match.items())
