"""What the screens ask about the inside of a model, kept while the log is the same; as in `app.load`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd
import streamlit as st

from app.load import Bench
from diagnosis import internals
from diagnosis.errors import CannotSayError, ContractError
from diagnosis.inputs import read_contracts
from diagnosis.inputs.contracts import Contract
from diagnosis.internals.cohort import is_tree, scale_of
from diagnosis.internals.contributions import explained_model, stages_of
from diagnosis.internals.layers import has_layers
from diagnosis.internals.shift import Parts
from diagnosis.localize.asking import Question
from diagnosis.log import Request, parse_filter
from diagnosis.models import CompositeModel, Model, read_training
from diagnosis.reproduce import Edits, Workbench
from diagnosis.store import Query

_POINTS = 50_000  # candidates of each window that are drawn, about
_MOST = 5_000  # requests of each window whose scores are split: some seconds


@dataclass(frozen=True, eq=False)
class Way:
    """One tree around the ways of one or two candidates, and what it says of them."""

    sentence: str
    drawing: internals.Drawing
    steps: pd.DataFrame


@dataclass(frozen=True)
class Asked:
    """The score of a candidate, or its difference to that of another, as logged or under a what-if."""

    item: str
    above: str
    edits: Edits
    stage: str = ""

    @property
    def items(self) -> list[str]:
        """One or two candidates."""
        return [self.item, self.above] if self.above else [self.item]


def inside(held: Bench, request: Request, asked: Asked) -> tuple[str, ...]:
    """What can be seen inside the model that is explained: ``trees``, ``layers``, or nothing."""
    model = explained_model(held.workbench, request, asked.edits, asked.stage)
    return tuple(name for name, has in (("trees", is_tree), ("layers", has_layers)) if has(model))


def scale(held: Bench, request: Request, asked: Asked) -> str:
    """What the trees of the explained model add up to, in words."""
    return scale_of(explained_model(held.workbench, request, asked.edits, asked.stage))


def stages(held: Bench, request: Request, edits: Edits) -> list[str]:
    """Stages of a composite model that score a request, in their order."""
    return stages_of(held.workbench, request, edits)


def turns(held: Bench, request: Request, asked: Asked) -> internals.Turns:
    """What features do on a candidate's way through all trees."""
    return _turns(held.key, request.request_id, _plain(asked), held.workbench, request)


@st.cache_resource(max_entries=32, show_spinner="Walking through the trees …")
def _turns(key: str, request_id: str, asked: Asked, _workbench: Workbench, _request: Request) -> internals.Turns:
    model, given = _explained(_workbench, _request, asked)
    return internals.turns(model, given.features, asked.item)


def partings(held: Bench, request: Request, asked: Asked) -> internals.Partings:
    """Which trees part two candidates."""
    return _partings(held.key, request.request_id, _plain(asked), held.workbench, request)


@st.cache_resource(max_entries=32, show_spinner="Walking through the trees …")
def _partings(key: str, request_id: str, asked: Asked, _workbench: Workbench, _request: Request) -> internals.Partings:
    model, given = _explained(_workbench, _request, asked)
    return internals.partings(model, given.features, asked.item, asked.above, units=_units(_workbench))


def way(held: Bench, request: Request, asked: Asked, tree: int) -> Way:
    """The way of one or two candidates through a tree."""
    return _way(held.key, request.request_id, _plain(asked), tree, held.workbench, request)


@st.cache_resource(max_entries=64, show_spinner="Drawing the tree …")
def _way(key: str, request_id: str, asked: Asked, tree: int, _workbench: Workbench, _request: Request) -> Way:
    model, given = _explained(_workbench, _request, asked)
    units = _units(_workbench)
    paths = [internals.path(model, given.features, item, tree, units=units) for item in asked.items]
    drawing = internals.draw(model, tree, given.features, asked.items, units=units)
    said = (
        internals.fork(model, given.features, asked.items[0], asked.items[1], tree, units=units).sentence
        if asked.above
        else paths[0].sentence
    )
    return Way(said, drawing, pd.concat([p.frame.assign(item=p.item) for p in paths], ignore_index=True))


def swaps(held: Bench, request: Request, asked: Asked) -> internals.Swaps:
    """The smallest edits that turn two candidates round."""
    return _swaps(held.key, request.request_id, _plain(asked), held.workbench, request)


@st.cache_resource(max_entries=32, show_spinner="Trying edits …")
def _swaps(key: str, request_id: str, asked: Asked, _workbench: Workbench, _request: Request) -> internals.Swaps:
    model, given = _explained(_workbench, _request, asked)
    foreign = {c.name for c in _contracts(_workbench) if not c.applies_to(_request.task)}  # sentinels, which no edit makes a value
    return internals.swaps(model, given, asked.item, asked.above, training=read_training(model.bundle), fixed=foreign)


def pairs(held: Bench, request: Request, asked: Asked) -> pd.DataFrame:
    """What features make alone and in pairs."""
    return _pairs(held.key, request.request_id, _plain(asked), held.workbench, request)


@st.cache_resource(max_entries=32, show_spinner="Looking at pairs of features …")
def _pairs(key: str, request_id: str, asked: Asked, _workbench: Workbench, _request: Request) -> pd.DataFrame:
    model, given = _explained(_workbench, _request, asked)
    found = internals.interactions(model, given.features, list(given.features.index))
    return internals.together(found, asked.item, asked.above)


def surrogate(held: Bench, request: Request, asked: Asked) -> internals.Surrogate:
    """A line around a candidate's score, beside its SHAP values."""
    return _surrogate(held.key, request.request_id, _plain(asked), held.workbench, request)


@st.cache_resource(max_entries=32, show_spinner="Fitting a line around the score …")
def _surrogate(key: str, request_id: str, asked: Asked, _workbench: Workbench, _request: Request) -> internals.Surrogate:
    model, given = _explained(_workbench, _request, asked)
    return internals.surrogate(model, given, asked.item, read_training(model.bundle))


def layers(held: Bench, request: Request, asked: Asked) -> internals.Activations:
    """What the units of a network give, for every candidate."""
    return _layers(held.key, request.request_id, _plain(asked), held.workbench, request)


@st.cache_resource(max_entries=32, show_spinner="Reading the layers …")
def _layers(key: str, request_id: str, asked: Asked, _workbench: Workbench, _request: Request) -> internals.Activations:
    model, given = _explained(_workbench, _request, asked)
    return internals.activations(model, given.features, list(given.features.index))


def structure(held: Bench, name: str, version: str, stage: str = "") -> internals.Structure | None:
    """What an ensemble is made of, or a stage of a composite; None where it is no ensemble of trees."""
    return _structure(held.key, name, version, stage, held.workbench)


@st.cache_resource(max_entries=16, show_spinner="Reading the trees …")
def _structure(key: str, name: str, version: str, stage: str, _workbench: Workbench) -> internals.Structure | None:
    model = _workbench.model(name, version)
    model = model.stages[stage] if isinstance(model, CompositeModel) and stage in model.stages else model
    return internals.structure(model) if is_tree(model) else None


def importance(held: Bench, name: str, version: str) -> pd.DataFrame:
    """What a model makes of each feature for each task of its training rows."""
    return _importance(held.key, name, version, held.workbench)


@st.cache_resource(max_entries=16, show_spinner="Explaining the training rows …")
def _importance(key: str, name: str, version: str, _workbench: Workbench) -> pd.DataFrame:
    model = _workbench.model(name, version)
    training = read_training(model.bundle)
    if training is None:
        raise CannotSayError(f"{name} {version} has no training rows.", "`diagnosis models add --training FILE` adds a sample of them.")
    return internals.importance_by(model, training)


def versions(held: Bench, model: str, before: str, after: str, parts: tuple[str, ...] = ()) -> internals.Versions:
    """Two versions of a model side by side, as far as `parts` ask; see `diagnosis.internals.compare_versions`.

    Raises
    ------
    NotFoundError, ModelError
    """
    return _versions(held.key, model, before, after, parts, held.workbench)


@st.cache_resource(max_entries=24, show_spinner="Comparing both versions …")
def _versions(key: str, model: str, before: str, after: str, parts: tuple[str, ...], _workbench: Workbench) -> internals.Versions:
    return internals.compare_versions(_workbench, model, before, after, parts=parts)


def bisection(held: Bench, request: Request, item: str, model: str) -> internals.Bisection:
    """A request through every version of a model.

    Raises
    ------
    NotFoundError, CannotSayError
    """
    return _bisection(held.key, request.request_id, item, model, held.workbench, request)


@st.cache_resource(max_entries=64, show_spinner="Scoring with every version …")
def _bisection(key: str, request_id: str, item: str, model: str, _workbench: Workbench, _request: Request) -> internals.Bisection:
    return internals.bisect(_workbench, _request, item, name=model)


def behind(held: Bench, request: Request, item: str) -> internals.Behind:
    """The training rows behind the score of a candidate.

    Raises
    ------
    NotFoundError, ModelError, CannotSayError
    """
    return _behind(held.key, request.request_id, item, held.workbench, request)


@st.cache_resource(max_entries=32, show_spinner="Looking for the training rows behind the score …")
def _behind(key: str, request_id: str, item: str, _workbench: Workbench, _request: Request) -> internals.Behind:
    return internals.behind(_workbench, _request, item)


def scoring(held: Bench, question: Question) -> list[tuple[str, str]]:
    """Models that scored requests of both windows and are admitted, (name, version), the one with most requests of the incident first."""
    return _scoring(held.key, question, held.workbench)


@st.cache_resource(max_entries=16, show_spinner=False)
def _scoring(key: str, question: Question, _workbench: Workbench) -> list[tuple[str, str]]:
    if "model_version" not in _workbench.snapshot.columns("requests"):
        return []
    _, after = _queries(question)
    counted = _workbench.snapshot.aggregate(by=["model_version"], query=after).sort_values("weight", ascending=False)
    admitted = sorted(_workbench.admissions)
    return [(name, version) for wanted in counted["model_version"] for name, version in admitted if version == wanted]


def shifts(held: Bench, question: Question, model: tuple[str, str]) -> Iterator[tuple[internals.Shift, Parts, Parts]]:
    """The shift of the mean score split over features, from samples that grow until the answer is stable; and the parts it is made of."""
    before, after = _queries(question)
    yield from internals.shifts(held.workbench.snapshot, held.workbench.model(*model), before, after, most=_MOST)


def clouds(held: Bench, question: Question, model: tuple[str, str]) -> internals.Clouds:
    """Contributions of some fifty thousand candidates of each window."""
    return _clouds(held.key, question, model, held.workbench)


@st.cache_resource(max_entries=8, show_spinner="Explaining the scores of both windows …")
def _clouds(key: str, question: Question, model: tuple[str, str], _workbench: Workbench) -> internals.Clouds:
    snapshot, (before, after) = _workbench.snapshot, _queries(question)
    few = snapshot.sample(50, query=after)
    width = max(few.candidates.num_rows / max(len(few), 1), 1.0)
    batches = [snapshot.sample(max(int(_POINTS / width), 50), query=query) for query in (before, after)]
    return internals.clouds(_workbench.model(*model), *batches)


def layer_shift(held: Bench, question: Question, model: tuple[str, str]) -> internals.LayerShift:
    """What the units of a network did in the baseline and do in the incident."""
    return _layer_shift(held.key, question, model, held.workbench)


@st.cache_resource(max_entries=8, show_spinner="Reading the layers in both windows …")
def _layer_shift(key: str, question: Question, model: tuple[str, str], _workbench: Workbench) -> internals.LayerShift:
    batches = [_workbench.snapshot.sample(1000, query=query) for query in _queries(question)]
    return internals.layer_shift(_workbench.model(*model), *batches)


def _queries(question: Question) -> tuple[Query, Query]:
    where = parse_filter(question.where)
    before, after = (Query(where=where, since=w.since, until=w.until) for w in (question.baseline, question.incident))
    return before, after


def _plain(asked: Asked) -> Asked:
    return replace(asked, edits=replace(asked.edits, ruleset=None))  # rules do not touch scores


def _explained(workbench: Workbench, request: Request, asked: Asked) -> tuple[Model, internals.Contributions]:
    given = internals.explain(workbench, request, edits=asked.edits, stage=asked.stage)
    return explained_model(workbench, request, asked.edits, asked.stage), given


def _contracts(workbench: Workbench) -> tuple[Contract, ...]:
    try:
        return tuple(read_contracts(workbench.workspace.contracts_file))
    except ContractError:  # `check` says what is wrong with them; scores can be explained without
        return ()


def _units(workbench: Workbench) -> dict[str, str]:
    return {c.name: c.unit for c in _contracts(workbench)}
