"""What a replay found: the logged request next to the replayed one, and what that means in words and in JSON."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.models import Problem
from diagnosis.reproduce import agreement
from diagnosis.reproduce.agreement import EXACT, NOT_REPLAYABLE, REORDERED, SAME_ORDER
from diagnosis.reproduce.edits import Edits

STAGES = ("retrieved", "filtered", "features", "score", "rank", "rules", "served")
_JSON = {"logged": "logged_score", "replayed": "replayed_score", "adjusted": "adjusted_score"}


@dataclass(frozen=True, eq=False)
class Replay:
    """A logged request next to the same request replayed.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a candidate in logged order, index ``item_id``. Columns ``logged``, ``replayed`` (float64, raw score; NaN = none),
        ``logged_rank``, ``replayed_rank``, ``logged_position``, ``replayed_position`` (Int64, from 1; null = none),
        ``logged_dropped_by``, ``replayed_dropped_by`` (object; None = shown or not known), ``adjusted`` (float64, replayed score after
        boosts; NaN without a ruleset), ``due`` (bool, whether the log or the replay should have a score).
    verdict : str
        ``exact`` (scores bitwise the same), ``same_order`` (within `tolerance`, same ranks), ``reordered`` (within tolerance, ranks
        differ), ``different_scores`` (beyond it), ``not_replayable``. Ranks of equal scores may differ freely. Of a what-if it says
        how the edited request compares to the log.
    reasons : tuple of str
        Why it is not replayable or differs.
    first_stage : str or None
        The first stage where logged and replayed part, or where the log cannot be followed: one of `STAGES`; None if neither.
    tolerance : float
        Largest score difference that counts as the same.
    noise_floor : float
        Largest score difference between scoring in batch, row by row, and with one and two threads; NaN if not measured.
    candidates_total : int
        How many candidates there were; more than rows when the log keeps only some, and then places below them are not known.
    problems : tuple of Problem
        What makes the replay less than exact, or impossible.
    plain : Replay or None
        Of a what-if: the same request without edits, where it could be had.
    stages : pandas.DataFrame
        Of a composite, one row a stage, index ``stage``: ``logged``, ``replayed`` (int64, candidates with a score of that stage), ``gap``
        (float64, largest difference of these scores; NaN where the log has none), ``dropped`` (int64, that the log says it dropped), ``same`` (bool), ``text``
        (what differs). Empty for other models.
    """

    request_id: str
    rows: pd.DataFrame
    verdict: str
    reasons: tuple[str, ...]
    first_stage: str | None
    tolerance: float
    noise_floor: float
    model: str | None
    model_version: str | None
    ruleset: str | None
    edits: Edits
    candidates_total: int
    problems: tuple[Problem, ...] = ()
    plain: Replay | None = None
    stages: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def gap(self) -> float:
        """Largest ``|replayed - logged|`` over candidates that were scored; NaN if a score is missing on one side, or is NaN."""
        rows, owner = self.rows, np.zeros(len(self.rows), dtype=np.int64)
        logged, replayed = (rows[name].to_numpy(dtype=np.float64) for name in ("logged", "replayed"))
        return float(agreement.gaps(logged, replayed, rows["due"].to_numpy(), owner, 1)[0])

    @property
    def partial(self) -> bool:
        """Whether the log holds only some of the candidates."""
        return self.candidates_total > len(self.rows)

    @property
    def scored(self) -> int:
        """How many candidates have a logged score."""
        return int(self.rows["logged"].notna().sum())

    @property
    def moved(self) -> pd.DataFrame:
        """Candidates whose place changed, by new place.

        The place is the position where a ruleset was replayed, else the rank. It is compared with the log; of a what-if with the
        plain replay, so that what did not reproduce anyway is not put down to the edits.

        Returns
        -------
        pandas.DataFrame
            Rows of `rows`, with columns ``before``, ``after`` (Int64, places; null = none), ``by`` (Int64, places gained; null if it
            came or went) and ``way`` (``up``, ``down``, ``came``, ``went``). Empty where nothing was replayed.
        """
        kind = "rank" if self.ruleset is None else "position"
        after = self.rows[f"replayed_{kind}"].array
        usable = self.plain is not None and bool(self.plain.rows[f"replayed_{kind}"].notna().any())
        before = (self.plain.rows[f"replayed_{kind}"] if usable and self.plain else self.rows[f"logged_{kind}"]).array
        moved = self.rows.assign(before=before, after=after)
        was, now = (moved[name].fillna(0).to_numpy(dtype=np.int64) for name in ("before", "after"))
        way = np.select([was == 0, now == 0, now < was], ["came", "went", "up"], "down").astype(object)
        changed: pd.DataFrame = moved.assign(by=moved["before"] - moved["after"], way=way).loc[(was != now) & bool(now.any())]
        return changed.sort_values(["after", "before"], kind="stable")

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        text = self._what_if() if self.edits else self._plainly()
        if self.partial and self.verdict != NOT_REPLAYABLE:
            text += f"; only {len(self.rows)} of {self.candidates_total} candidates are logged, so places are partial"
        return text + "."

    def _what_if(self) -> str:
        if self.verdict == NOT_REPLAYABLE:
            return f"This what-if cannot be answered: {'; '.join(self.reasons)}"
        moved = self.moved
        text = f"What if {self.edits}: {len(moved)} of {len(self.rows)} candidates would change their place"
        gains = moved["by"].dropna()
        if len(gains):
            most = moved.loc[[gains.abs().idxmax()]].iloc[0]
            text += f", {gains.abs().idxmax()} most, from {most['before']} to {most['after']}"
        if self.plain is not None and self.plain.verdict not in (EXACT, SAME_ORDER):
            text += f"; without the edits it is {self.plain.verdict.replace('_', ' ')}, so take this as the model's answer, not the log's"
        return text

    def _plainly(self) -> str:
        who = f"{self.model} {self.model_version}" if self.model else "no model"
        if self.verdict == NOT_REPLAYABLE:
            return f"Not replayable: {'; '.join(self.reasons)}{self._instead(who)}"
        if self.verdict == EXACT:
            text = f"Reproduced exactly: {who} gives all {self.scored} logged scores bit for bit"
        elif self.verdict == SAME_ORDER:
            text = f"Reproduced: {who} gives the logged order, scores within {self.gap:.3g}"
        elif self.verdict == REORDERED:
            text = f"Nearly reproduced: scores of {who} within {self.gap:.3g}, but candidates change ranks"
        else:
            gap = "; ".join(self.reasons) if math.isnan(self.gap) else f"scores differ by up to {self.gap:.3g}"
            text = f"Not reproduced with {who}: {gap}"
            if self.gap <= self.noise_floor:
                text += f", which is within the noise of scoring here ({self.noise_floor:.3g})"
        if self.first_stage == "rules":
            return f"{text}, but ruleset {self.ruleset} gives another page than was shown"
        if self.ruleset and self.first_stage is None and self.rows["logged_position"].notna().any():
            return f"{text}, and ruleset {self.ruleset} gives the page that was shown"
        return text

    def _instead(self, who: str) -> str:
        """What the model would have done where something else made the page."""
        rows = self.rows
        page, shown = rows["replayed_position"].notna(), rows["logged_position"].notna()
        if not page.any():
            return ""
        if not shown.any():
            return f"; {who} would have shown {int(page.sum())} items"
        return f"; {who} would have shown {int((page & shown).sum())} of the {int(shown.sum())} items on the page"

    def as_json(self) -> dict[str, Any]:
        """The document of ``diagnosis replay --json`` (NaN, infinity and null are None); ``stages`` is there for composites only."""
        shown = self.rows.drop(columns="due").rename(columns=_JSON)
        return _said_of_stages(self.stages) | {
            "request_id": self.request_id,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "first_stage": self.first_stage,
            "sentence": self.sentence,
            "model": self.model,
            "model_version": self.model_version,
            "ruleset_version": self.ruleset,
            "tolerance": self.tolerance,
            "gap": _plain(self.gap),
            "noise_floor": _plain(self.noise_floor),
            "candidates_total": self.candidates_total,
            "candidates_logged": len(self.rows),
            "edits": [str(edit) for edit in self.edits.values],
            "plain_verdict": self.plain.verdict if self.plain else None,
            "problems": [dataclasses.asdict(problem) for problem in self.problems],
            "candidates": [
                {"item_id": str(item), **{key: _plain(value) for key, value in row.items()}}
                for item, row in zip(shown.index, shown.to_dict("records"), strict=True)
            ],
        }


def _said_of_stages(rows: pd.DataFrame) -> dict[str, Any]:
    if rows.empty:
        return {}
    records = zip(rows.index, rows.to_dict("records"), strict=True)
    return {"stages": [{"stage": str(name), **{key: _plain(value) for key, value in row.items()}} for name, row in records]}


def _plain(value: Any) -> Any:
    """A value for JSON: NaN, infinity and null are None."""
    if value is None or value is pd.NA:
        return None
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, (int, np.integer)) else value
