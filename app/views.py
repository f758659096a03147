"""Small drawing functions. Text from logs passes through `text` before anything that reads markup."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pandas as pd
import streamlit as st

from diagnosis.errors import DiagnosisError

_ICONS = {"good": ":material/check_circle:", "bad": ":material/error:", "unknown": ":material/help:"}


def text(value: Any) -> str:
    """`value` as text that Streamlit's Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>()#+\-.!|~$:&^=@/])", r"\\\1", " ".join(str(value).split()))


def banner(sentence: str, tone: str) -> None:
    """What is known, in one sentence; `tone` is good, bad or unknown."""
    draw = {"good": st.success, "bad": st.error}.get(tone, st.warning)
    draw(text(sentence), icon=_ICONS[tone])


def problem(error: Exception) -> None:
    """An error of the library: message and hint."""
    message, hint = (error.message, error.hint) if isinstance(error, DiagnosisError) else (str(error), "")
    st.error(text(message), icon=":material/error:")
    if hint:
        st.caption(text(hint))


@contextmanager
def guarded() -> Iterator[None]:
    """Whatever the library refuses inside is shown, and the page ends there."""
    try:
        yield
    except (DiagnosisError, ValueError) as error:
        problem(error)
        st.stop()


def facts(rows: Mapping[str, Any]) -> None:
    """Names and values in columns that wrap on a phone."""
    with st.container(horizontal=True, gap="medium"):
        for name, value in rows.items():
            with st.container(width="content", gap=None):
                st.caption(name)
                st.text("–" if value is None or value == "" else str(value))


def table(frame: pd.DataFrame, alt: str, name: str, *, height: int | None = None, **options: Any) -> Any:
    """A table with a download that is safe to open in a spreadsheet; `alt` says what it shows."""
    shown = st.dataframe(frame, hide_index=True, alt=alt, width="stretch", **({"height": height} if height else {}), **options)
    st.download_button(
        "CSV",
        lambda: csv(frame),
        f"{name}.csv",
        "text/csv",
        icon=":material/download:",
        key=f"csv-{name}",
        on_click="ignore",
        type="tertiary",
    )
    return shown


def csv(frame: pd.DataFrame) -> bytes:
    """CSV in which no text begins as a spreadsheet formula does (OWASP: CSV injection)."""

    def safe(value: Any) -> Any:
        return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value

    return frame.map(safe).rename(columns=safe).to_csv(index=False).encode("utf-8")


def chart(drawn: Any, alt: str) -> None:
    """A chart with its alternative text."""
    st.altair_chart(drawn, width="stretch", alt=alt)


def when(at: Any) -> str:
    """A time in UTC, to the second."""
    return "–" if pd.isna(at) else pd.Timestamp(at).strftime("%Y-%m-%d %H:%M:%S UTC")
