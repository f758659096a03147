"""Commands of the log: collect, forget."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from diagnosis.cli.output import Folder, Json, document, plain


def collect(
    workspace: Folder,
    spool: Annotated[Path | None, typer.Option(help="Folder of the segments; spool in the workspace when not given.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until interrupted.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="With --follow: seconds between two looks.")] = 5.0,
    as_json: Json = False,
) -> None:
    """Move what serving processes logged into the tables; compact them, and let expire what retention says.

    JSON (with --follow one document a look that found something): busy (another collector is at it), segments, requests, candidates,
    outcomes, waiting, aside {reason: count}, renamed {column: why}, compacted {table: dates}, expired {table: dates}, vacuumed (files).
    """
    from diagnosis.store import Workspace

    opened = Workspace.open(workspace)
    while True:
        done = opened.collect(spool)
        kept = opened.keep_house()
        found = done is not None and bool(done.segments or done.aside)
        if as_json and (found or not follow):
            rest = {"compacted": kept.compacted, "expired": kept.expired, "vacuumed": kept.vacuumed}
            document({"busy": done is None, **({} if done is None else vars(done)), **rest})
        elif found or not follow:
            _tell(done)
        if not follow:
            return
        time.sleep(every)


def _tell(done: object) -> None:
    from diagnosis.store import Collected

    if not isinstance(done, Collected):
        print("Another collector is at it.")
        return
    print(
        f"Collected {done.requests} requests with {done.candidates} candidates and {done.outcomes} outcomes from {done.segments} segments."
    )
    if done.waiting:
        print(f"{done.waiting} outcomes wait for their request.")
    for reason, count in sorted(done.aside.items()):
        print(f"Set aside: {count} × {plain(reason)}")
    for column, why in sorted(done.renamed.items()):
        print(f"Column {plain(column)} is {plain(why)}")


def forget(
    workspace: Folder,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="As the service knows them (with DIAGNOSIS_MEMBER_KEY), or as logged.")],
    spool: Annotated[Path | None, typer.Option(help="Folder of the segments; spool in the workspace when not given.")] = None,
    now: Annotated[bool, typer.Option("--now", help="Remove the old files at once; a query that still reads them fails.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a member's requests everywhere: tables, spool, cases, shares.

    Files that tables held before are removed once the longest query is over: by `collect`, an hour later; or --now.

    JSON: requests, candidates, outcomes (rows removed), aside (records), cases (entries), shares, kept (incidents, hotfixes and the
    like), vacuum_due (time; null when done).
    """
    from diagnosis.cases.forgetting import forget_member
    from diagnosis.store import Workspace

    done = forget_member(Workspace.open(workspace), member, spool=spool, now=now)
    if as_json:
        document(vars(done))
        return
    print(f"Forgot {done.requests} requests with {done.candidates} candidates and {done.outcomes} outcomes,")
    print(f"{done.aside} records that were set aside, {done.cases} entries of cases, {done.shares} shared pages,")
    print(f"and {done.kept} incidents, marks, hotfixes or checks that named them.")
    if done.vacuum_due is not None:
        print(f"Files that held them are removed by `diagnosis collect` after {plain(done.vacuum_due)}.")
