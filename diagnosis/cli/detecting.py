"""The command that finds incidents: detect."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from diagnosis.cli.output import Folder, Json, document, moment, plain, table

if TYPE_CHECKING:
    from diagnosis.detect.run import Detection

SOMETHING_NEW = 4


def detect(
    workspace: Folder,
    since: Annotated[str | None, typer.Option(help="Judge hours from here on, UTC; the last week of the log by default.")] = None,
    until: Annotated[str | None, typer.Option(help="Judge hours before this time, UTC; the last full hour of the log by default.")] = None,
    localize: Annotated[bool, typer.Option(help="Look for the cause of what is new.")] = True,
    deliver: Annotated[bool, typer.Option(help="Tell the webhook of the workspace, where it has one.")] = True,
    as_json: Json = False,
) -> None:
    """Find what is wrong, for whom, since when; for a schedule.

    Every hour is judged by what the hours before it taught. Only what is new in the log is read. Incidents are kept: one that was found
    before is found again under its key, and closed when its series are back.

    JSON: incidents: [{key, kind (metric|input|…), symptom (inputs|outputs|outcomes|serving), metric, where, since, detected_at, seen_at,
    sentence, status (open|over|dismissed), task, phase, unit, value, expected, low, high, z, false_discovery, series, verdict, cause,
    baseline {since, until}, evidence, part_of, narrowed}], new and closed: [key], since, until, series, judged, hours_read, skipped: [{what, why}], delivered: {sent,
    waiting, given_up, problem} or null, elapsed_s.
    Exit status 4 when something is new, 0 when nothing is, 3 when nothing can be said.
    """
    from diagnosis.detect.run import detect as ask
    from diagnosis.reproduce import Workbench

    found = ask(
        Workbench.open(workspace),
        since=moment(since),
        until=moment(until),
        localize=localize,
        deliver=deliver,
        tell=_quiet if as_json else _progress,
    )
    if as_json:
        document(found.as_json())
    else:
        _show(found)
    if found.new:
        raise typer.Exit(SOMETHING_NEW)


def _quiet(text: str, share: float) -> None:
    """Say nothing."""


def _progress(text: str, share: float) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{share:4.0%} {plain(text)}", end="" if share < 1 else "\n", file=sys.stderr, flush=True)


def _show(found: Detection) -> None:
    from diagnosis.detect.causes import who_acts

    if found.incidents:
        rows = [
            (
                (f"new, {i.status}" if i.status == "over" else "new") if i.key in found.new else i.status,
                i.metric,
                i.place,
                i.since.strftime("%Y-%m-%d %H:%M"),
                f"{i.z:+.1f}" if i.z == i.z else "–",
                f"{i.cause['component']} {i.cause['target']}" if i.cause else i.verdict or "–",
                who_acts(i),
                i.key,
            )
            for i in found.incidents
        ]
        table(rows, ("", "metric", "where", "since (UTC)", "z", "likely cause", "who acts", "key"))
        print()
        for i in found.incidents:
            print(plain(i.sentence))
            for line in i.evidence:
                print(f"  {plain(line)}")
        print()
    else:
        print("Nothing is wrong, as far as can be told.")
    print(
        f"{found.judged:,} of {found.series:,} series judged from {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC; "
        f"{found.hours_read:,} hours read. {found.elapsed_s:.1f} s."
    )
    if found.delivered and (found.delivered.sent or found.delivered.problem):
        print(f"{found.delivered.sent} told, {found.delivered.waiting} wait. {plain(found.delivered.problem)}".rstrip())
    for what, why in found.skipped:
        print(f"  Left out: {plain(what)}: {plain(why)}")
