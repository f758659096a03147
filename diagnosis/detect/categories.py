"""Categories that a feature never had before, and those that it lost: counted by requests and by members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis import estimate
from diagnosis.detect.confined import confined
from diagnosis.detect.finding import CATEGORY, Finding
from diagnosis.detect.observed import Floats, Ints, Observed, Side, onset
from diagnosis.estimate import Estimate, Sums
from diagnosis.inputs.subjects import Subject

LEAST_NEW, LEAST_GONE = 0.002, 0.01  # of the requests
MOST = 500  # distinct values beyond which a column is no category


@dataclass(frozen=True, eq=False)
class _Held:
    """Which requests hold which value: one pair each; ``value`` is a code into `words`."""

    words: tuple[str, ...]
    request: Ints
    value: Ints

    def hits(self, word: str, size: int) -> NDArray[np.bool_]:
        """Which requests hold a word."""
        found = np.zeros(size, dtype=np.bool_)
        if word in self.words:
            found[self.request[self.value == self.words.index(word)]] = True
        return found


def category_findings(seen: Observed, known: Mapping[str, Sequence[str]], used: Sequence[str]) -> list[Finding]:
    """Features with categories that are new or gone.

    Parameters
    ----------
    known : mapping of str to sequence of str
        Categories that contracts and models allow, by source: these are no news.
    used : sequence of str
        Sources that models or contracts name: of other request attributes (versions, screens …) new values are ordinary.
    """
    found: list[Finding] = []
    for subject in seen.subjects:
        if subject.kind != "text" or (subject.table == "requests" and subject.source not in used):
            continue
        before, recent = _held(seen.before, subject), _held(seen.recent, subject)
        if before is None or recent is None or not before.words:
            continue
        new = [
            f
            for word in recent.words
            if word not in before.words and word not in known.get(subject.source, ())
            for f in _new(seen, subject, recent, word)
        ]
        gone = [f for word in before.words if word not in recent.words for f in _gone(seen, subject, before, word)] if recent.words else []
        found += _renamed(seen, subject, before, recent, new, gone)
    return found


def _held(side: Side, subject: Subject) -> _Held | None:
    """None where there are too many values for categories."""
    column = side.column(subject)
    if column is None or not pa.types.is_string(column.type):
        return None
    coded = column.combine_chunks().dictionary_encode()
    words = tuple(str(w) for w in coded.dictionary.to_pylist())
    if len(words) > MOST:
        return None
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    pairs = np.unique(np.column_stack([side.owner(subject.table), codes])[codes >= 0], axis=0)
    return _Held(words, pairs[:, 0], pairs[:, 1])


def _new(seen: Observed, subject: Subject, recent: _Held, word: str) -> list[Finding]:
    """Chance that a value which none of the earlier requests held would be in so many of the recent ones: members count, not requests."""
    side = seen.recent
    hit = recent.hits(word, len(side.batch))
    share, members = _share(side, hit), len(np.unique(side.group[hit]))
    odds = len(np.unique(side.group)) / (len(np.unique(side.group)) + len(np.unique(seen.before.group)))
    if share.value < LEAST_NEW or members < 5:
        return []
    text = f"{subject.name} has a new category {word!r} in {share.value:.1%} of the requests"
    since = onset(side, hit.astype(np.float64) - 0.5 * share.value)
    return [
        Finding(
            CATEGORY,
            subject.contract.upstream or subject.name,
            since,
            text,
            subject.name,
            share,
            odds**members,
            str(confined(side, hit, since)),
        )
    ]


def _gone(seen: Observed, subject: Subject, before: _Held, word: str) -> list[Finding]:
    """Chance that a value which was there on every day would be in none of the recent requests."""
    hit = before.hits(word, len(seen.before.batch))
    share = _share(seen.before, hit)
    days = seen.before.served.astype("datetime64[D]")
    if share.value < LEAST_GONE or len(np.unique(days)) < 2 or set(days) != set(days[hit]):
        return []
    members = np.unique(seen.before.group)
    of_member = len(np.unique(seen.before.group[hit])) / len(members)
    p = (1 - of_member) ** len(np.unique(seen.recent.group))
    text = f"{subject.name} lost its category {word!r}, which {share.value:.1%} of the requests held"
    return [Finding(CATEGORY, subject.contract.upstream or subject.name, seen.recent.since, text, subject.name, share, p)]


def _renamed(seen: Observed, subject: Subject, before: _Held, recent: _Held, new: list[Finding], gone: list[Finding]) -> list[Finding]:
    """What is new, told as what it replaced where one category lost as many requests; what is gone otherwise."""
    told, left = [], {f.text: f for f in gone}
    falls = _falls(seen, before, recent) if new else {}
    lost = max(falls, key=lambda w: falls[w], default="")
    for finding in new:
        assert finding.share is not None
        if len(new) == 1 and lost and 0.5 * finding.share.value <= falls[lost] <= 1.5 * finding.share.value:
            left = {text: f for text, f in left.items() if f"{lost!r}" not in text}
            told.append(replace(finding, text=f"{finding.text}, where {lost!r} was: renamed?"))
        else:
            told.append(finding)
    return [*told, *left.values()]


def _falls(seen: Observed, before: _Held, recent: _Held) -> dict[str, float]:
    """By how much the share of requests fell that hold each of the earlier categories."""
    was = {word: _share(seen.before, before.hits(word, len(seen.before.batch))).value for word in before.words}
    return {word: share - _share(seen.recent, recent.hits(word, len(seen.recent.batch))).value for word, share in was.items()}


def _share(side: Side, hit: NDArray[np.bool_]) -> Estimate:
    """Share of the requests, weighted."""
    weight: Floats = side.batch.weights
    hits = Sums(int(hit.sum()), float(weight[hit].sum()), float((weight[hit] ** 2).sum()))
    return estimate.event_share(hits, Sums(len(weight), float(weight.sum()), float((weight**2).sum())), unit="share of requests")
