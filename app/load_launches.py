"""What the screens of launches and items ask, kept while the log is the same; as in `app.load`."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.load import FRESH_S, Bench
from diagnosis.predict import Launches, Record, Scorecard, keep, launches, records, score
from diagnosis.predict.item import ItemView
from diagnosis.predict.item import item_view as item_view_of
from diagnosis.predict.launching import Catalogue, catalogue
from diagnosis.reproduce import Workbench


def forecasts(held: Bench) -> list[Record]:
    """Forecasts of launches that were kept, the latest first; at most `FRESH_S` seconds old."""
    return _kept_forecasts(held.key, held.workbench)


@st.cache_resource(ttl=FRESH_S, max_entries=8, show_spinner=False)
def _kept_forecasts(key: str, _workbench: Workbench) -> list[Record]:
    return records(_workbench)


def make_forecasts(held: Bench, progress: Any) -> Launches:
    """Forecast what launches in the next two weeks, and keep it.

    Raises
    ------
    CannotSayError
    """
    answer = launches(held.workbench, progress=progress)
    keep(held.workbench, answer)
    _kept_forecasts.clear()
    return answer


def scorecard(held: Bench) -> Scorecard:
    """How good forecasts that were kept have been.

    Raises
    ------
    CannotSayError
    """
    return _scorecard(held.key, tuple((r.item, r.data) for r in forecasts(held)), held.workbench)


@st.cache_resource(max_entries=8, show_spinner="Holding forecasts against what came …")
def _scorecard(key: str, kept: tuple[tuple[str, str], ...], _workbench: Workbench) -> Scorecard:
    return score(_workbench)


def calendar(held: Bench) -> Catalogue:
    """Items, and when each launches.

    Raises
    ------
    CannotSayError
    """
    return _calendar(held.key, held.workbench)


@st.cache_resource(max_entries=8, show_spinner=False)
def _calendar(key: str, _workbench: Workbench) -> Catalogue:
    return catalogue(_workbench)


def item_view(held: Bench, item: str) -> ItemView:
    """One item; see `diagnosis.predict.item.item_view`.

    Raises
    ------
    NotFoundError, CannotSayError
    """
    kept = tuple(r.data for r in records(held.workbench, item))
    return _item_view(held.key, item, kept, held.workbench)


@st.cache_resource(max_entries=32, show_spinner="Counting what became of the item …")
def _item_view(key: str, item: str, kept: tuple[str, ...], _workbench: Workbench) -> ItemView:
    return item_view_of(_workbench, item)
