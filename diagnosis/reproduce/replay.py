"""A logged request next to the same request scored and ruled now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import DiagnosisError, MissingFeaturesError
from diagnosis.log.records import Batch, Request
from diagnosis.models import Model, Problem, assemble
from diagnosis.reproduce.edits import NO_EDITS, Edits, apply_edits
from diagnosis.rules import Ruleset, after, before

STAGES = ("retrieved", "filtered", "features", "score", "rank", "rules", "served")
_SERVED = {
    "fallback": "a fallback made the page, not the model",
    "cached": "an earlier page was reused",
    "timeout": "the request timed out before the model answered",
    "error": "the request ended in an error",
}
_NO_ITEMS = pd.DataFrame(index=pd.Index([], name="item_id"))


@dataclass(frozen=True, eq=False)
class Replay:
    """A logged request next to the same request replayed.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a candidate in logged order, index ``item_id``. Columns ``logged``, ``replayed`` (float64, raw score; NaN = not scored),
        ``logged_rank``, ``replayed_rank``, ``logged_position``, ``replayed_position`` (Int64, from 1; null = none),
        ``logged_dropped_by``, ``replayed_dropped_by`` (object; None = shown or not known).
    verdict : str
        ``exact`` (scores bitwise the same), ``same_order`` (within `tolerance`, same ranks), ``reordered`` (within tolerance, ranks
        differ), ``different_scores`` (beyond it), ``not_replayable``. Ranks of equal scores may differ freely.
    reasons : tuple of str
        Why it is not replayable or differs.
    first_stage : str or None
        The first stage where logged and replayed part: one of `STAGES`.
    tolerance : float
        Largest score difference that counts as the same.
    noise_floor : float
        Largest score difference between scoring in batch, row by row, and with one and two threads; NaN if not measured.
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
    problems: tuple[Problem, ...] = ()

    @property
    def gap(self) -> float:
        """Largest ``|replayed - logged|`` over candidates that were scored; NaN if one side has a score that the other has not."""
        return _gap(self.rows["logged"].to_numpy(), self.rows["replayed"].to_numpy())

    @property
    def moved(self) -> pd.DataFrame:
        """Candidates whose position changed, by new position.

        Columns of `rows`, ``by`` (Int64, places gained; null if it came or went) and ``way`` (``up``, ``down``, ``came``, ``went``).
        """
        rows = self.rows
        same = (rows["logged_position"] == rows["replayed_position"]).fillna(False).to_numpy(dtype=np.bool_)
        absent = (rows["logged_position"].isna() & rows["replayed_position"].isna()).to_numpy()
        moved = rows[~same & ~absent].copy()
        moved["by"] = moved["logged_position"] - moved["replayed_position"]
        up = (moved["by"] > 0).fillna(False).to_numpy(dtype=np.bool_)
        came, went = moved["logged_position"].isna().to_numpy(), moved["replayed_position"].isna().to_numpy()
        moved["way"] = np.select([came, went, up], ["came", "went", "up"], "down")
        return moved.sort_values(["replayed_position", "logged_position"])

    @property
    def scored(self) -> int:
        """How many candidates have a logged score."""
        return int(self.rows["logged"].notna().sum())

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        who = f"{self.model} {self.model_version}" if self.model else "no model"
        if self.edits:
            if self.verdict == "not_replayable":
                return f"This what-if cannot be answered: {'; '.join(self.reasons)}."
            return f"What if: {len(self.moved)} of {len(self.rows)} candidates would change their place on the page."
        if self.verdict == "not_replayable":
            return f"Not replayable: {'; '.join(self.reasons)}."
        if self.verdict == "exact":
            text = f"Reproduced exactly: {who} gives all {self.scored} logged scores bit for bit"
        elif self.verdict == "same_order":
            text = f"Reproduced: {who} gives the logged order, scores within {self.gap:.3g}"
        elif self.verdict == "reordered":
            text = f"Nearly reproduced: scores of {who} within {self.gap:.3g}, but candidates change ranks"
        else:
            gap = "some scores are missing" if math.isnan(self.gap) else f"scores differ by up to {self.gap:.3g}"
            text = f"Not reproduced: with {who} {gap}"
        if self.first_stage == "rules":
            return text + f", but ruleset {self.ruleset} gives another page than was shown."
        if self.ruleset and self.first_stage is None:
            return text + f", and ruleset {self.ruleset} gives the page that was shown."
        return text + "."

    def as_json(self) -> dict[str, Any]:
        """The document of ``diagnosis replay --json`` (NaN and null are None)."""
        return {
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
            "edits": [str(edit) for edit in self.edits.values],
            "problems": [{"kind": p.kind, "feature": p.feature, "text": p.text, "fatal": p.fatal} for p in self.problems],
            "candidates": [
                {"item_id": str(item), **{key: _plain(value) for key, value in row.items()}}
                for item, row in zip(self.rows.index, self.rows.rename(columns=_JSON).to_dict("records"), strict=True)
            ],
        }


_JSON = {"logged": "logged_score", "replayed": "replayed_score"}


def replay(
    request: Request,
    model: Model | None,
    *,
    ruleset: Ruleset | None = None,
    items: pd.DataFrame = _NO_ITEMS,
    edits: Edits = NO_EDITS,
    tolerance: float = 0.0,
    noise: bool = False,
    problems: Sequence[Problem] = (),
    unavailable: str = "",
) -> Replay:
    """Score `request` with `model`, apply `ruleset`, and set the result next to the log.

    Parameters
    ----------
    model : Model or None
        Need not be the one that served the request: replaying with the previous version clears or blames the new one. None where
        there is none; `unavailable` then says why.
    ruleset : Ruleset, optional
        Without one there are no replayed positions.
    items : pandas.DataFrame
        Item attributes as they were then, index ``item_id``.
    tolerance : float
        Largest score difference that still counts as the same; 0 asks for the same bits.
    noise : bool
        Also measure the noise floor.
    problems : sequence of Problem
        What `preflight` found; a fatal one makes the request not replayable.

    Raises
    ------
    NotFoundError
        If an edit names an item or a feature that is not there.
    RulesError
        If a rule needs an attribute that is not logged.

    Examples
    --------
    >>> from diagnosis.testing import LinearModel, make_request
    >>> replay(make_request(score=[2.0, 1.0], price=[1.0, 2.0]), LinearModel(price=-1.0)).gap
    3.0
    """
    reasons = _why_not(request, model, problems, unavailable, bool(edits))
    n = request.table.num_rows
    score, noise_floor = np.full(n, np.nan), math.nan
    dropped = before(ruleset, request, items) if ruleset else _dropped_unscored(request)
    if model is not None and n and not any(p.fatal for p in problems):
        try:
            features = apply_edits(edits.values, assemble(model.bundle, request.batch), request, model.bundle)
        except MissingFeaturesError as error:
            reasons.append(error.message)
        else:
            score = np.asarray(model.score(features, groups=request.batch.groups), dtype=np.float64)
            noise_floor = _noise(model, features, score) if noise else math.nan
    scored = np.array([d is None for d in dropped], dtype=np.bool_)
    score = np.where(scored, score, np.nan)
    rows = _rows(request, score, ruleset, items, dropped)
    verdict = "not_replayable" if reasons else _verdict(rows, tolerance)
    first = None if verdict == "not_replayable" else _first_stage(rows, verdict, ruleset, tolerance, edits)
    if verdict == "different_scores" and not edits:
        reasons = _differences(rows, tolerance)
    return Replay(
        request_id=request.request_id,
        rows=rows,
        verdict=verdict,
        reasons=tuple(reasons),
        first_stage="served" if verdict == "not_replayable" and request.row.get("status") in _SERVED else first,
        tolerance=tolerance,
        noise_floor=noise_floor,
        model=model.bundle.name if model else request.row.get("model"),
        model_version=model.bundle.version if model else request.row.get("model_version"),
        ruleset=ruleset.version if ruleset else None,
        edits=edits,
        problems=tuple(problems),
    )


def replay_scores(batch: Batch, model: Model) -> NDArray[np.float64]:
    """Raw scores of every candidate of many requests, in one call; shape ``(batch.candidates.num_rows,)``.

    Raises
    ------
    MissingFeaturesError
    """
    return model.score(assemble(model.bundle, batch), groups=batch.groups)


def ranks(score: NDArray[np.float64]) -> pd.Series[Any]:
    """Places by score, 1 = highest; of equal scores the first; null where there is no score."""
    return pd.Series(score).rank(ascending=False, method="first").astype("Int64")


def _why_not(request: Request, model: Model | None, problems: Sequence[Problem], unavailable: str, what_if: bool) -> list[str]:
    reasons = []
    status = str(request.row.get("status"))
    if status in _SERVED and not what_if:
        text = _SERVED[status]
        if status == "cached" and request.row.get("source_request_id"):
            text += f" (of request {request.row['source_request_id']}; replay that one)"
        if status == "fallback" and request.row.get("fallback"):
            text += f" ({request.row['fallback']})"
        reasons.append(text)
    if not request.table.num_rows:
        reasons.append("no candidates were logged")
    fatal = [p.text.rstrip(".") for p in problems if p.fatal]
    if model is None and (unavailable or not (reasons or fatal)):
        reasons.append(unavailable or "the log names no model")
    if len(set(request.items)) < len(request.items):
        reasons.append("an item stands twice among the candidates")
    return reasons + ([] if model is None and unavailable else fatal)


def _dropped_unscored(request: Request) -> NDArray[np.object_]:
    """Without a ruleset: what the log says was dropped and has no score."""
    rows = request.table
    if "dropped_by" not in rows.column_names or "score" not in rows.column_names:
        return np.full(rows.num_rows, None, dtype=object)
    drops = rows.column("dropped_by").to_pylist()
    missing = rows.column("score").is_null().to_pylist()
    return np.array([d if d is not None and m else None for d, m in zip(drops, missing, strict=True)], dtype=object)


def _rows(
    request: Request, score: NDArray[np.float64], ruleset: Ruleset | None, items: pd.DataFrame, dropped: NDArray[np.object_]
) -> pd.DataFrame:
    logged = request.candidates
    index = pd.Index(request.items, name="item_id", dtype=object)

    def whole(name: str) -> Any:
        if name not in logged:
            return pd.array([pd.NA] * len(index), dtype="Int64")
        return pd.array(logged[name].to_numpy(), dtype="Int64") if logged[name].dtype != "Int64" else logged[name].array

    rows = pd.DataFrame(index=index)
    rows["logged"] = logged["score"].to_numpy(dtype=np.float64) if "score" in logged else np.full(len(index), np.nan)
    rows["replayed"] = score
    rows["logged_rank"], rows["replayed_rank"] = whole("rank"), ranks(score).array
    rows["logged_position"] = whole("position")
    drops = request.table.column("dropped_by").to_pylist() if "dropped_by" in logged else [None] * len(index)
    rows["logged_dropped_by"] = pd.Series(drops, index=index, dtype=object)
    if ruleset is not None and not np.isnan(score).all():
        page = after(ruleset, request, items, score, dropped).rows
        rows["replayed_position"] = page["position"].array
        rows["replayed_dropped_by"] = page["dropped_by"]
    else:
        rows["replayed_position"] = pd.array([pd.NA] * len(index), dtype="Int64")
        rows["replayed_dropped_by"] = pd.Series(dropped, index=index, dtype=object)
    names = ["logged", "replayed", "logged_rank", "replayed_rank", "logged_position", "replayed_position"]
    return rows[[*names, "logged_dropped_by", "replayed_dropped_by"]]


def _gap(logged: NDArray[np.float64], replayed: NDArray[np.float64]) -> float:
    either = ~(np.isnan(logged) & np.isnan(replayed))
    if not either.any():
        return math.nan
    with np.errstate(invalid="ignore"):
        difference = np.abs(replayed[either] - logged[either])
    difference[replayed[either] == logged[either]] = 0.0  # equal infinities
    return float(np.max(difference)) if not np.isnan(difference).any() else math.nan


def _verdict(rows: pd.DataFrame, tolerance: float) -> str:
    logged, replayed = rows["logged"].to_numpy(dtype=np.float64), rows["replayed"].to_numpy(dtype=np.float64)
    gap = _gap(logged, replayed)
    if not gap <= tolerance:  # NaN falls on the failing side
        return "different_scores"
    if not _same_ranks(rows):
        return "reordered"
    return "exact" if gap == 0 else "same_order"


def _same_ranks(rows: pd.DataFrame) -> bool:
    """Whether logged ranks order the replayed scores: equal scores may stand in any order. True where no ranks were logged."""
    held = rows[rows["logged_rank"].notna()]
    if held.empty:
        return True
    ordered = held.sort_values("logged_rank", kind="stable")["replayed"].to_numpy(dtype=np.float64)
    return not np.isnan(ordered).any() and bool((np.diff(ordered) <= 0).all())


def _first_stage(rows: pd.DataFrame, verdict: str, ruleset: Ruleset | None, tolerance: float, edits: Edits) -> str | None:
    logged, replayed = rows["logged"].to_numpy(dtype=np.float64), rows["replayed"].to_numpy(dtype=np.float64)
    if (np.isnan(logged) != np.isnan(replayed)).any():
        return "filtered"
    if edits.values and verdict == "different_scores":
        return "features"
    if verdict == "different_scores":
        return "score"
    if verdict == "reordered":
        return "rank"
    if ruleset is not None and rows["logged_position"].notna().any():
        same = (rows["logged_position"].fillna(0) == rows["replayed_position"].fillna(0)).to_numpy(dtype=np.bool_)
        if not same.all() and not _only_ties_moved(rows):
            return "rules"
    return None


def _only_ties_moved(rows: pd.DataFrame) -> bool:
    """Whether positions differ only among candidates of equal score."""
    shown = rows[rows["logged_position"].notna()].sort_values("logged_position")
    again = rows[rows["replayed_position"].notna()].sort_values("replayed_position")
    if len(shown) != len(again):
        return False
    return bool((shown["replayed"].to_numpy() == again["replayed"].to_numpy()).all()) and len(set(shown["replayed"])) < len(shown)


def _differences(rows: pd.DataFrame, tolerance: float) -> list[str]:
    logged, replayed = rows["logged"].to_numpy(dtype=np.float64), rows["replayed"].to_numpy(dtype=np.float64)
    only_log, only_now = int((~np.isnan(logged) & np.isnan(replayed)).sum()), int((np.isnan(logged) & ~np.isnan(replayed)).sum())
    with np.errstate(invalid="ignore"):
        differ = int((np.abs(replayed - logged) > tolerance).sum())
    reasons = [f"{differ} of {len(rows)} scores differ"] if differ else []
    reasons += [f"{only_log} candidates have a logged score and no replayed one"] if only_log else []
    return reasons + ([f"{only_now} candidates have a replayed score and no logged one"] if only_now else [])


def _noise(model: Model, features: pd.DataFrame, score: NDArray[np.float64]) -> float:
    others = [np.asarray(model.score(features, threads=threads)) for threads in (1, 2)]
    if model.bundle.scope == "row":
        others.append(np.concatenate([model.score(features.iloc[[i]]) for i in range(len(features))]))
    gaps = [_gap(score, other) for other in others]
    return float(np.max([g for g in gaps if not math.isnan(g)], initial=0.0))


def _plain(value: Any) -> Any:
    """A value for JSON: NaN, infinity and null are None."""
    if value is None or value is pd.NA:
        return None
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, (int, np.integer)) else value


def unavailable_reason(error: DiagnosisError) -> str:
    """Why a model is not there, as a part of a sentence."""
    return error.message.rstrip(".")
