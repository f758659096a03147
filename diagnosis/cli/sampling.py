"""Commands about the sample: coverage, sampling plan."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from diagnosis.cli.output import Folder, Json, document, moment, plain, table

app = typer.Typer(help="Sampling: propose rates from real traffic.", no_args_is_help=True)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
Since = Annotated[str | None, typer.Option(help="First moment, UTC.")]
Until = Annotated[str | None, typer.Option(help="First moment after, UTC.")]


def coverage(
    workspace: Folder,
    metric: Annotated[str, typer.Option(help="Metric whose changes should be seen.")] = "ctr",
    by: Annotated[str | None, typer.Option(help="Attributes, with commas; those with few values when not given.")] = None,
    change: Annotated[str, typer.Option(help="A slice in which a day does not show so large a change is blind.")] = "25%",
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many slices in the table.")] = 30,
    as_json: Json = False,
) -> None:
    """What the sample can and cannot say of every slice of one and two attributes; blind slices first.

    JSON: metric, value, hours, change, slices: [{attribute, value, attribute_2, value_2, kept, estimated, low, high, n_effective, seen,
    hour_change, day_change, blind}]; changes are absolute, null where nothing is kept.
    """
    from diagnosis.reproduce import Workbench
    from diagnosis.reproduce.coverage import coverage as covered
    from diagnosis.store import Query

    bench = Workbench.open(workspace)
    query = Query(since=moment(since), until=moment(until))
    found = covered(bench, bench.metric(metric), by=_names(by), change=_share(change), query=query)
    if as_json:
        rows = found.slices.to_dict("records")
        document({"metric": metric, "value": found.value, "hours": found.hours, "change": found.change, "slices": rows})
        return
    unit = bench.metric(metric).unit
    shown = [
        (
            "blind" if row["blind"] else "",
            _slice(row),
            row["kept"],
            round(row["estimated"]),
            None if math.isnan(row["seen"]) else round(row["seen"]),
            round(row["n_effective"]),
            _seen(row["hour_change"], unit),
            _seen(row["day_change"], unit),
        )
        for row in found.slices.head(limit).to_dict("records")
    ]
    table(shown, ("", "slice", "kept", "stand for", "counted", "effective", "seen in an hour", "seen in a day"))
    print(
        f"{len(found.blind)} of {len(found.slices)} slices are blind: a day does not show {plain(change)} of {plain(metric)} {found.value:.4g}."
    )


def _seen(change: float, unit: str) -> str:
    """The smallest change that shows, with its unit; of a share in percentage points, and none that is more than there is."""
    if math.isnan(change):
        return "–"
    if unit == "share":
        return f"{100 * change:.2g} points" if change < 1 else "none"
    return f"{change:.3g} {plain(unit)}".rstrip()


@app.command()
def plan(
    workspace: Folder,
    budget: Annotated[float, typer.Option(min=1e-6, help="Requests that may be kept an hour.")],
    metric: Annotated[list[str] | None, typer.Option(help="Of a wish. Repeatable, with the three that follow.")] = None,
    change: Annotated[list[str] | None, typer.Option(help="Relative change that should be seen.")] = None,
    by: Annotated[list[str] | None, typer.Option(help="In every combination of values of these attributes, with commas.")] = None,
    within: Annotated[list[str] | None, typer.Option(help="So soon: 30m, 1h, 1d.")] = None,
    since: Since = None,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """Propose sampling rates that show the wished changes at the least cost. Exit status 3 when a wish cannot be met.

    JSON: by, cost, budget (requests kept an hour), strata: [{<attributes>, per_hour, rate, kept_per_hour}], wishes: [{wish, slice, change,
    visible, if_all_kept, met}], toml (for the logger).
    """
    from diagnosis.reproduce import Workbench
    from diagnosis.reproduce.sampling_plan import Wish, sampling_plan
    from diagnosis.store import Query

    bench = Workbench.open(workspace)
    asked = _repeated(metric or ["ctr"], change or ["5%"], by or ["task"], within or ["1h"])
    wishes = [Wish(bench.metric(m), _share(c), tuple(_names(b)), _time(w)) for m, c, b, w in asked]
    found = sampling_plan(bench, wishes, budget, query=Query(since=moment(since), until=moment(until)))
    if as_json:
        tables = {"strata": found.strata.to_dict("records"), "wishes": found.wishes.to_dict("records")}
        document({"by": list(found.by), "cost": found.cost, "budget": found.budget, **tables, "toml": found.toml()})
    else:
        header = [*found.by, "an hour", "rate", "kept an hour"]
        table(found.strata[[*found.by, "per_hour", "rate", "kept_per_hour"]].itertuples(index=False), header)
        print(f"Costs {found.cost:.0f} of {budget:.0f} requests an hour.")
        for row in found.wishes[~found.wishes["met"]].to_dict("records"):
            shown, best = _percent(row["visible"]), _percent(row["if_all_kept"])
            print(f"Not met: {plain(row['slice'])} shows {shown} instead of {_percent(row['change'])}; if all were kept, {best}.")
        print(f"{int(found.wishes['met'].sum())} of {len(found.wishes)} wishes are met. For the logger: --json, key toml.")
    if not found.wishes["met"].all():
        raise typer.Exit(3)


@app.command()
def launches(
    workspace: Folder,
    days: Annotated[float, typer.Option(min=0, help="How far ahead.")] = 30.0,
    as_json: Json = False,
) -> None:
    """Items in their launch week, and those that launch soon, for the logger: it keeps every request that has one among the candidates.

    Write it to a file that [always] launches of the sampling file names.

    JSON: launched {item: time}.
    """
    from diagnosis.reproduce import Workbench
    from diagnosis.reproduce.sampling_plan import launches as listed

    found = listed(Workbench.open(workspace).snapshot, datetime.now(UTC), timedelta(days=days))
    if as_json:
        document({"launched": found})
        return
    print("[launched]")
    for item, at in found.items():
        print(f"{_quoted(item)} = {at:%Y-%m-%dT%H:%M:%SZ}")


def _quoted(text: str) -> str:
    """A TOML key that no terminal takes for a command."""
    shown = "".join(c if unicodedata.category(c)[0] not in "CZ" or c == " " else f"\\U{ord(c):08x}" for c in text.replace("\\", "\\\\"))
    return '"' + shown.replace('"', '\\"') + '"'


def _slice(row: Mapping[Any, Any]) -> str:
    parts = [(row["attribute"], row["value"]), (row["attribute_2"], row["value_2"])]
    return ", ".join(f"{name}={'–' if value is None else value}" for name, value in parts if name)


def _repeated(*lists: list[str]) -> list[tuple[str, ...]]:
    """Wishes from options that were repeated; one that stands once is of every wish."""
    n = max(len(values) for values in lists)
    if any(len(values) not in (1, n) for values in lists):
        raise ValueError("repeat --metric, --change, --by and --within equally often, or give one of them once for all.")
    return list(zip(*(values * n if len(values) == 1 else values for values in lists), strict=True))


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _share(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"{text!r} is no share; write 5% or 0.05.") from None
    if not value > 0:
        raise ValueError(f"{text!r} must be more than nothing.")
    return value


def _time(text: str) -> timedelta:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", text)
    if not found:
        raise ValueError(f"{text!r} is no time; write 30m, 1h or 1d.")
    return timedelta(**{_UNITS[found[2]]: float(found[1])})


def _percent(value: float) -> str:
    return f"{100 * value:.3g}%" if value < float("inf") else "nothing"
