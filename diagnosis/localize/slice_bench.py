"""How well the slice search finds labelled causes: ``diagnosis bench slices FOLDER``.

A folder of cases holds ``labels.json``, a list of ``{"file": …, "cause": [{attribute: value, …}, …]}``, and the files named there (in the
folder itself or in ``cases/``; ``.gz`` may be added). Two kinds are told apart by their columns:

- ``real``, ``predict``: a total; every other column is an attribute.
- ``min``, ``value``, ``cnt``: ``value`` of ``cnt`` had it, per minute and leaf; the label's ``at`` is the minute of the incident, and the
  minutes before it are the baseline. A rise is what the operators were called for.

Every case is answered by the same search with the same settings.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from diagnosis.errors import DiagnosisError
from diagnosis.localize.cube import Cube, additive, counted
from diagnosis.localize.slices import Direction, Slice, candidates

Element = frozenset[tuple[str, str]]
_NUMBERS = {"real": "float64", "predict": "float64", "min": "int64", "value": "float64", "cnt": "float64"}
SETTINGS = {"max_attributes": 5, "slices": 10, "at_most": 5}


@dataclass(frozen=True)
class CaseScore:
    """One case.

    Attributes
    ----------
    rank : int or None
        Which of the five answers is exactly the labelled set of elements, from 1; None if none is.
    found, wanted : frozenset
        Elements of the first answer, and of the label: each a set of (attribute, value), values as text.
    cpu_s : float
        Processor seconds from the file to the answers.
    """

    file: str
    rank: int | None
    found: frozenset[Element]
    wanted: frozenset[Element]
    cpu_s: float


@dataclass(frozen=True)
class KindScore:
    """All cases of one folder."""

    kind: str
    cases: tuple[CaseScore, ...]

    def exact(self, within: int) -> float:
        """Share of cases whose label is one of the first `within` answers."""
        return sum(case.rank is not None and case.rank <= within for case in self.cases) / len(self.cases)

    @property
    def hits(self) -> int:
        """Elements of first answers that are right."""
        return sum(len(case.found & case.wanted) for case in self.cases)

    @property
    def precision(self) -> float:
        """Share of the elements found that are right; NaN if nothing was found."""
        found = sum(len(case.found) for case in self.cases)
        return self.hits / found if found else float("nan")

    @property
    def recall(self) -> float:
        """Share of the labelled elements that were found."""
        return self.hits / sum(len(case.wanted) for case in self.cases)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall over the elements of all cases."""
        return 2 * self.hits / sum(len(case.found) + len(case.wanted) for case in self.cases)

    @property
    def cpu_s(self) -> float:
        """Processor seconds a case."""
        return sum(case.cpu_s for case in self.cases) / len(self.cases)


def bench(folder: Path | str) -> tuple[KindScore, ...]:
    """Scores of every folder of cases in `folder` (or of itself), in the order of their names.

    Raises
    ------
    DiagnosisError
        If there are no cases, or a case cannot be read.
    """
    root = Path(folder)
    found = [place for place in (root, *sorted(p for p in root.glob("*") if p.is_dir())) if (place / "labels.json").is_file()]
    if not found:
        raise DiagnosisError(f"There are no cases in {root}.", "a folder of cases holds labels.json and the files that it names.")
    return tuple(KindScore(place.resolve().name, tuple(_score(place, label) for label in _labels(place))) for place in found)


def answer_elements(answer: tuple[Slice, ...]) -> frozenset[Element]:
    """An answer as a set of elements, one for every combination of the values of its slices."""
    return frozenset(frozenset(zip(s.where, map(str, values), strict=True)) for s in answer for values in product(*s.where.values()))


def read_case(folder: Path, label: dict[str, Any]) -> tuple[Cube, Direction]:
    """The cube of a case, and which movements count.

    Raises
    ------
    DiagnosisError
        If its file is missing or has other columns.
    """
    name = Path(str(label["file"])).name
    places = [folder / part / (name + end) for part in (".", "cases") for end in ("", ".gz")]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise DiagnosisError(f"Case {name!r} of {folder} has no file.")
    rows = pd.read_csv(file, dtype=defaultdict(lambda: "str", _NUMBERS), keep_default_na=False)
    if {"real", "predict"} <= set(rows.columns):
        return additive(rows.drop(columns=["real", "predict"]), rows["real"], rows["predict"]), "both"
    if not {"min", "value", "cnt"} <= set(rows.columns):
        raise DiagnosisError(f"Case {name!r} has columns {', '.join(rows.columns)}.", "it needs real and predict, or min, value and cnt.")
    at = int(label["at"])
    rows = rows[rows["min"] <= at]
    late = (rows["min"] == at).to_numpy()
    value, count = rows["value"].to_numpy(), rows["cnt"].to_numpy()
    attributes = rows.drop(columns=["min", "value", "cnt"])
    return counted(attributes, (value * ~late, count * ~late), (value * late, count * late)), "up"


def _labels(folder: Path) -> list[dict[str, Any]]:
    try:
        labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DiagnosisError(f"{folder / 'labels.json'} cannot be read: {error}") from None
    if not isinstance(labels, list) or not labels or not all(isinstance(x, dict) and x.get("cause") and "file" in x for x in labels):
        raise DiagnosisError(f"{folder / 'labels.json'} is no list of cases.", "each has a file and a cause, a list of objects.")
    return labels


def _score(folder: Path, label: dict[str, Any]) -> CaseScore:
    began = time.process_time()
    cube, direction = read_case(folder, label)
    answers = [answer_elements(answer) for answer in candidates(cube, direction=direction, **SETTINGS)]
    spent = time.process_time() - began
    wanted = frozenset(frozenset((str(k), str(v)) for k, v in element.items()) for element in label["cause"])
    rank = answers.index(wanted) + 1 if wanted in answers else None
    return CaseScore(str(label["file"]), rank, answers[0] if answers else frozenset(), wanted, spent)
