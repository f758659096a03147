"""Small drawing functions.

Text from logs (titles, ids, feature values, notes) is untrusted. It reaches the page in three ways only: inside a table or a chart,
which draw it as text; through `safe`, which escapes it for our own HTML; through `code`, for the few labels that Streamlit reads as
Markdown. Backslashes are not enough there: Markdown as Streamlit reads it turns escaped addresses into links all the same.
"""

from __future__ import annotations

import hashlib
import html
import logging
import math
import re
import secrets
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app.charts import frozen
from diagnosis.errors import DiagnosisError

STYLE = Path(__file__).with_name("style.css")
# The one inline script of the workbench; its digest stands in the content security policy.
FOCUS = "for (const ms of [60, 200, 500]) setTimeout(() => document.querySelector('.st-key-jump input')?.focus(), ms)"
_MARKS = {"good": "✓", "bad": "✗", "unknown": "?", "info": "i"}
_WORDS = {"good": "Good: ", "bad": "Problem: ", "unknown": "Not known: ", "info": ""}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_LOG = logging.getLogger("diagnosis.app")


# --- text -------------------------------------------------------------------------------------------------------------------------


def plain(value: Any) -> str:
    """A value as text on one line: control, format and surrogate characters, which could reorder or hide text, become spaces."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) or value is pd.NaT:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return when(value)
    text = "".join(c if unicodedata.category(c)[0] != "C" or c == "\u200d" else " " for c in str(value))
    return " ".join(text.split()) or "–"


def safe(value: Any) -> str:
    """A value for our own HTML: escaped, isolated from the writing direction of what surrounds it."""
    return f"<bdi>{html.escape(plain(value), quote=True)}</bdi>"


def prose(value: Any) -> str:
    """A sentence for our own HTML; what stands between backquotes is set as code. It is escaped first, so nothing in it is markup."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", safe(value))


def mono(value: Any) -> str:
    """An id for our own HTML."""
    return f"<code>{html.escape(plain(value), quote=True)}</code>"


def code(value: Any) -> str:
    """An id for a label that Streamlit reads as Markdown: a code span, in which nothing is markup."""
    return "`" + plain(value).replace("`", "ˋ") + "`"


def when(at: Any) -> str:
    """A time in UTC, to the second."""
    return "–" if at is None or pd.isna(at) else pd.Timestamp(at).strftime("%Y-%m-%d %H:%M:%S UTC")


def number(value: Any, unit: str = "") -> str:
    """A number with its unit, to five digits."""
    if value is None or value is pd.NA or value != value:
        return "–"
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.5g}"
    return f"{text} {unit}".rstrip()


# --- pieces -----------------------------------------------------------------------------------------------------------------------


def style() -> None:
    """The style sheet, once a page."""
    st.html(STYLE)


def title(text: str, kicker: str = "", mono_text: str = "") -> None:
    """The heading of a page: what it is, over what it is about."""
    above = f'<div class="dx-kicker">{safe(kicker)}</div>' if kicker else ""
    st.html(f'{above}<h1 class="dx-title">{safe(text)}{" " + mono(mono_text) if mono_text else ""}</h1>')


def heading(text: str, aside: str = "") -> None:
    """The heading of a part; `aside` is said beside it, quietly."""
    st.html(f'<h2 class="dx-heading">{safe(text)}{f"<span>{safe(aside)}</span>" if aside else ""}</h2>')


def banner(tone: str, lines: Iterable[tuple[str, str]]) -> None:
    """What is known, first thing on the page: sentences, each with its own tone (``good``, ``bad``, ``unknown``, ``info``)."""
    rows = "".join(
        f'<p class="dx-{t}"><i aria-hidden="true">{_MARKS[t]}</i><span class="dx-sr">{_WORDS[t]}</span>{prose(text)}</p>'
        for t, text in lines
    )
    st.html(f'<div class="dx-banner dx-{tone}" role="status">{rows}</div>')


def note(tone: str, text: str, hint: str = "") -> None:
    """A message in a part of a page, and what to do about it."""
    more = f'<span class="dx-hint">{prose(_opening(hint))}</span>' if hint else ""
    role = "alert" if tone == "bad" else "note"
    st.html(f'<div class="dx-note dx-{tone}" role="{role}"><i aria-hidden="true">{_MARKS[tone]}</i><div>{prose(text)}{more}</div></div>')


def empty(text: str, hint: str = "") -> None:
    """Where something would be, and how it gets there."""
    more = f"<p>{prose(hint)}</p>" if hint else ""
    st.html(f'<div class="dx-empty"><p>{prose(text)}</p>{more}</div>')


def quiet(text: str) -> None:
    """A remark in small type."""
    st.html(f'<p class="dx-quiet">{prose(text)}</p>')


def sentence(text: str) -> None:
    """A finding, in the size of the text."""
    st.html(f'<p class="dx-sentence">{prose(text)}</p>')


def facts(rows: Sequence[tuple[str, Any]], *, ids: Iterable[str] = (), wide: bool = False) -> None:
    """Names and values, side by side, wrapping on a phone; values named in `ids` are set as code."""
    held = set(ids)
    cells = "".join(f"<div><dt>{safe(name)}</dt><dd>{mono(value) if name in held else safe(value)}</dd></div>" for name, value in rows)
    st.html(f'<dl class="dx-facts{" dx-wide" if wide else ""}">{cells}</dl>')


def steps(rows: Iterable[tuple[str, str, str]], *, down: bool = False) -> None:
    """A way through stages: (name, outcome, text); outcome is ``passed``, ``stopped``, ``not_reached`` or ``not_known``."""
    tones = {"passed": "good", "stopped": "bad", "not_reached": "off", "not_known": "unknown"}
    said = {"passed": "passed", "stopped": "stopped here", "not_reached": "not reached", "not_known": "not known"}
    cells = "".join(
        f'<li class="dx-{tones[outcome]}"><b>{safe(name)}</b><span>{safe(text) if text else said[outcome]}</span></li>'
        for name, outcome, text in rows
    )
    st.html(f'<ol class="dx-steps{" dx-down" if down else ""}">{cells}</ol>')


def key_of(rows: Sequence[tuple[str, str]]) -> None:
    """What the marks of a chart mean: (how it looks, words); looks are ``baseline``, ``incident``, ``baseline-point``, ``incident-point``, ``usual``, ``change``."""
    st.html(
        f'<p class="dx-key">{"".join(f"<span><i class=dx-k-{look} aria-hidden=true></i>{safe(text)}</span>" for look, text in rows)}</p>'
    )


def cause(place: int, name: str, target: str, sure: str, *, explains: str, left: float, width: float, strong: bool, text: str) -> None:
    """The head of a cause: its place, component and target, how it is known, the share that it explains as a bar.

    Parameters
    ----------
    left, width : float
        Where the interval begins and how wide it is, in percent of the bar.
    strong : bool
        Whether it is proved.
    """
    chip = f'<span class="dx-chip{" dx-strong" if strong else ""}">{safe(sure)}</span>'
    st.html(
        f'<div class="dx-cause"><h3><b>{place}</b> {safe(name)} {mono(target)} {chip}</h3><p>{prose(text)}</p>'
        f'<div class="dx-bar"><div style="margin-left:{left:.1f}%;width:{width:.1f}%"></div></div><p class="dx-quiet">{safe(explains)}</p></div>'
    )


def evidence(lines: Iterable[tuple[str, str]]) -> None:
    """What was seen: (kind, text)."""
    st.html(f'<ul class="dx-seen">{"".join(f"<li><small>{safe(kind)}</small> {prose(text)}</li>" for kind, text in lines)}</ul>')


def matrix(columns: Sequence[str], rows: Sequence[tuple[Sequence[str], Sequence[tuple[str, bool]]]], alt: str) -> None:
    """A table of our own, for a few cells of which some are marked: rows of (what stands before, cells as (text, marked))."""
    head = "".join(f'<th scope="col">{safe(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{safe(before[0])}</th>{"".join(f"<td>{safe(text)}</td>" for text in before[1:])}'
        + "".join(
            f'<td class="dx-hit"><b>{safe(text)}</b></td>' if marked else f"<td>{safe(text) if text else ''}</td>" for text, marked in cells
        )
        + "</tr>"
        for before, cells in rows
    )
    st.html(
        f'<div class="dx-scroll" tabindex="0" role="region" aria-label="{html.escape(alt, quote=True)}">'
        f'<table class="dx-matrix"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def chart(drawn: Any, *, key: str | None = None, passing: bool = False, **options: Any) -> None:
    """A chart and its downloads; its description is the alternative text. One that is drawn anew at once (`passing`) has no downloads."""
    if passing:
        st.altair_chart(drawn, width="stretch", key=key, **options)
        return
    name = _digest(key or _described(drawn))
    with st.container(key=f"chart-{name}", gap=None):
        st.altair_chart(drawn, width="stretch", key=key, **options)
        with st.container(horizontal=True, gap="small"):
            for kind, mime in (("PNG", "image/png"), ("SVG", "image/svg+xml")):
                st.download_button(
                    kind,
                    lambda kind=kind: picture(drawn, kind.lower()),
                    f"{_file_name(_described(drawn))}.{kind.lower()}",
                    mime,
                    icon=":material/download:",
                    key=f"{kind}-{name}",
                    on_click="ignore",
                    type="tertiary",
                    help=f"Download this picture as {kind}",
                )


def picture(drawn: Any, kind: str) -> bytes:
    """A chart as a file on white: ``png`` at twice its size, or ``svg``. Nothing is fetched while it is drawn."""
    import vl_convert

    spec = frozen(drawn)
    if kind == "svg":
        return str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])).encode()
    return bytes(vl_convert.vegalite_to_png(spec, scale=2, allowed_base_urls=[]))


def _described(drawn: Any) -> str:
    said = getattr(drawn, "description", None)
    return said if isinstance(said, str) else "chart"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _file_name(text: str) -> str:
    """The first words, in letters that every file system takes."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower())[:6]) or "chart"


def said(text: str) -> None:
    """What just happened, for a moment, also when the page is drawn anew at once."""
    st.toast(code(text))


def table(
    frame: pd.DataFrame,
    alt: str,
    name: str,
    *,
    rows: int = 12,
    columns: dict[str, Any] | None = None,
    key: str | None = None,
    **options: Any,
) -> Any:
    """A table and its download; `alt` says what it shows, `rows` how many are in sight, `columns` their titles with units."""
    height: Any = "content" if len(frame) <= rows else 37 + 35 * rows
    with st.container(key=f"table-{name}", gap=None):
        shown = st.dataframe(
            frame,
            hide_index=True,
            alt=alt,
            width="stretch",
            height=height,
            column_config=columns,
            placeholder="–",
            key=key or name,
            **options,
        )
        st.download_button(
            "CSV",
            lambda: csv(frame),
            f"{name}.csv",
            "text/csv",
            icon=":material/download:",
            key=f"csv-{name}",
            on_click="ignore",
            type="tertiary",
            help="Download this table; safe to open in a spreadsheet",
        )
    return shown


def csv(frame: pd.DataFrame) -> bytes:
    """CSV in UTF-8 in which no text begins as a spreadsheet formula does (OWASP, CSV injection): a quote stands before it."""

    def guarded(value: Any) -> Any:
        if isinstance(value, (list, tuple, dict)):
            value = str(value)
        return "'" + value if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) else value

    shown = frame.astype({c: object for c in frame.columns if frame[c].dtype.kind not in "iufb"}).map(guarded)
    return bytes(shown.rename(columns=guarded).to_csv(index=False).encode("utf-8-sig"))


# --- errors -----------------------------------------------------------------------------------------------------------------------


def problem(error: Exception) -> None:
    """What the library, or the reader's link, is told to be wrong; and what to do."""
    message, hint = (error.message, error.hint) if isinstance(error, DiagnosisError) else (_opening(str(error)), "")
    note("bad", message, hint)


def failure(error: Exception) -> None:
    """An error that nobody foresaw: a number to find it by in the server's log, never its text, which may hold what the log holds."""
    number = secrets.token_hex(3)
    _LOG.error("error %s on a screen", number, exc_info=error)
    note("bad", f"This part failed; error {number}.", "The log of the server has the details under that number. Nothing was changed.")


@contextmanager
def guarded(told: set[str] | None = None) -> Iterator[None]:
    """Whatever goes wrong inside is shown in its place; the rest of the page goes on.

    Parameters
    ----------
    told : set of str, optional
        What has been said to be wrong already, by other parts of the screen: it is not said again.
    """
    try:
        yield
    except (DiagnosisError, ValueError) as error:
        if not (isinstance(error, DiagnosisError) or _ours(error)):
            failure(error)
        elif told is not None and str(error) in told:
            quiet("Cannot be shown either, for the same reason.")
        else:
            problem(error)
            if told is not None:
                told.add(str(error))
    except Exception as error:
        failure(error)


def _opening(text: str) -> str:
    """A sentence as it stands alone."""
    return text[:1].upper() + text[1:]


def _ours(error: ValueError) -> bool:
    """Whether a `ValueError` was raised on purpose, by code of this project: then its text is for people."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return at is not None and str(at.tb_frame.f_globals.get("__name__", "")).split(".")[0] in ("diagnosis", "app")
