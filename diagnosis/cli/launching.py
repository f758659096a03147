"""The command that looks ahead: launches."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from diagnosis.cli.output import Folder, Json, document, plain, table

if TYPE_CHECKING:
    from diagnosis.predict import Forecast, Launches, Scorecard


def launches(
    workspace: Folder,
    days: Annotated[float, typer.Option(help="How many days after the end of the log.")] = 14,
    item: Annotated[str | None, typer.Option(help="Only this item (id or title), whenever it launches.")] = None,
    scored: Annotated[bool, typer.Option("--score", help="Instead: how good the forecasts that were kept have been.")] = False,
    kept: Annotated[bool, typer.Option("--keep/--no-keep", help="Keep the forecasts, to score them when the day has come.")] = True,
    most: Annotated[int, typer.Option(min=200, help="At most so many requests are read.")] = 6000,
    as_json: Json = False,
) -> None:
    """What every item that launches soon will do in its first day and week, with 90% intervals; flags what will be buried or over-exposed.

    JSON: until, days, data, forecasts: [{item, title, launched_at, sentence, first_day and first_week {exposure, shown, position, success,
    positives: {value, low, high}, tasks: {task: the same}}, expected, reference, against (team|alike|""), flag (buried|over_exposed|""),
    sure, alike, reach: {retriever or any: {task: share}}, reasons and fixes: [{kind (feature|retriever|rule|pin|block), target, exposure,
    position, text}]}], earlier_launches, intervals (conformal|student|assumed), slope, correlation, production, notes, elapsed_s. Exposures
    are shares of shown positions. With --score: coverage {first_day, first_week: {value, low, high}}, flags, flags_right, open,
    by_horizon: [{horizon, weeks_ahead, forecasts, error, factor, inside}], forecasts: [{item, launched_at, horizon, days_ahead, value, low,
    high, observed, inside, flag, came_true}]. Exit status 3 where nothing can be said: no items table, no launch known, no model that
    replays.
    """
    from diagnosis.predict import keep, score
    from diagnosis.predict import launches as ask
    from diagnosis.reproduce import Workbench

    bench = Workbench.open(workspace)
    if scored:
        card = score(bench)
        document(card.as_json()) if as_json else _show_score(card)
        return
    answer = ask(bench, days=days, item=item, most=most, progress=(lambda text, share: None) if as_json else _progress)
    if kept:
        keep(bench, answer)
    document(answer.as_json()) if as_json else _show(answer)


def _progress(text: str, share: float) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{share:4.0%} {text}", end="" if share < 1 else "\n", file=sys.stderr, flush=True)


def _show(answer: Launches) -> None:
    rows = [
        (
            f.item,
            f.title,
            f.launched_at.strftime("%Y-%m-%d %H:%M"),
            _ends(f, "first_day"),
            _ends(f, "first_week"),
            f.horizons["first_week"].all.position.value,
            "–" if f.reference != f.reference else f"{f.reference:.2%} ({f.against})",
            f"{f.flag} ({f.sure:.0%})" if f.flag else "",
        )
        for f in answer.forecasts
    ]
    if rows:
        table(rows, ("item", "title", "launches (UTC)", "first day: exposure", "first week: exposure", "position", "held against", "flag"))
    for found in answer.flagged:
        print(f"\n{plain(found.title)}: {plain(found.sentence)}")
        for reason in found.reasons:
            print(f"  why: {plain(reason.text)}, {reason.exposure:.2%}")
        for fix in found.fixes:
            print(f"  fix: {plain(fix.text)}, {fix.exposure:.2%}")
        if not found.fixes:
            print("  fix: no single change that was rehearsed brings it near what it is held against")
    print(f"\nMade from the log until {plain(answer.until)}, set right by {answer.earlier} earlier launches. {answer.elapsed_s:.1f} s.")
    for note in answer.notes:
        print(plain(note))


def _ends(found: Forecast, horizon: str) -> str:
    ends = found.horizons[horizon].all.exposure
    return f"{ends.value:.2%} ({ends.low:.2%} to {ends.high:.2%})"


def _show_score(card: Scorecard) -> None:
    if not len(card.rows):
        print(f"No forecast can be scored yet; {card.open} wait for their day.")
        return
    rows = [(r.horizon, r.weeks_ahead, r.forecasts, f"{r.error:.2%}", r.factor, f"{r.inside:.0%}") for r in card.by_horizon.itertuples()]
    table(rows, ("horizon", "weeks ahead", "forecasts", "median error", "times too high or low", "inside 90%"))
    right, flags = card.precision
    print(f"\n{right} of {flags} flags came true; {card.open} forecasts wait for their day.")
