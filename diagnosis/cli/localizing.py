"""Commands that look for causes: localize, diagnose."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from diagnosis.cli.ask import RequestId
from diagnosis.cli.output import Folder, Json, document, plain, table

if TYPE_CHECKING:
    from diagnosis.localize import Localization, Measured

WindowText = Annotated[str, typer.Option(metavar="SINCE..UNTIL", help="Half-open window, UTC, for example 2026-11-01..2026-11-08T12:00Z.")]


def localize(
    workspace: Folder,
    metric: Annotated[str, typer.Option(help="ctr, ndcg@10, exposure:genre=drama, fallback_rate … or one of diagnosis.toml.")],
    baseline: WindowText,
    incident: WindowText,
    where: Annotated[str, typer.Option(help="attribute=value,value;attribute>=number")] = "",
    most: Annotated[int, typer.Option(min=100, help="At most so many requests of each window are read.")] = 20_000,
    as_json: Json = False,
) -> None:
    """What moved a metric between two windows: ranked causes, each with its proof.

    JSON: metric, where, baseline and incident {since, until, value, low, high, requests}, verdict (cause_found|unexplained|no_change|
    not_enough_data), reason, causes: [{component, target, slice, since, explains, low, high, proof (replay|replay+model|statistical),
    confidence, owner, change, evidence: [{kind, text}], effect, necessity, sufficiency, requests, examples}], interactions: [{between,
    share}], unexplained, replayable_share, ruled_out: [{component, target, reason}], slices: [{slice, recovery, traffic, z}] (where the
    metric itself moved), elapsed_s. Exit status 3 with not_enough_data.
    """
    from diagnosis.localize import NOT_ENOUGH_DATA, metric_of, parse_window
    from diagnosis.localize import localize as ask
    from diagnosis.log import parse_filter
    from diagnosis.reproduce import Workbench

    bench = Workbench.open(workspace)
    answer = ask(
        bench,
        metric_of(bench, metric),
        parse_window(baseline),
        parse_window(incident),
        where=parse_filter(where),
        most=most,
        progress=None if as_json else _progress,
    )
    if as_json:
        document(answer.as_json())
    else:
        _show(answer)
    if answer.verdict == NOT_ENOUGH_DATA:
        raise typer.Exit(3)


def diagnose(workspace: Folder, request: RequestId, as_json: Json = False) -> None:
    """The verdict on one complaint, and its blast radius.

    JSON: request_id, verdict (cause_found|unexplained|no_change|not_enough_data), reason, replay, inputs, causes: [{component, target,
    slice, since, moved, replayed, owner, evidence: [{kind, text}], blast_radius: {signature, requests, low, high, members_at_least,
    items_at_least, since, last_seen, ongoing}}], baseline, compared. Exit status 3 with not_enough_data.
    """
    from diagnosis.localize import NOT_ENOUGH_DATA
    from diagnosis.localize import diagnose as ask
    from diagnosis.reproduce import Workbench

    answer = ask(Workbench.open(workspace), request)
    if as_json:
        document(answer.as_json())
    else:
        print(f"{answer.verdict}: {plain(answer.reason)}\n\nReplay: {answer.replay}. {plain(answer.inputs)}")
        for finding in answer.findings:
            b = finding.blast
            print(f"\n{plain(f'{finding.component} {finding.target}')}")
            for evidence in finding.evidence:
                print(f"  {plain(evidence.text)}")
            print(
                f"  Blast radius: about {b.requests.value:.0f} requests ({b.requests.low:.0f} to {b.requests.high:.0f}), at least {b.members} "
                f"members and {b.items} items, since {plain(b.since)}, {'still going on' if b.ongoing else f'last seen {plain(b.last_seen)}'}"
            )
    if answer.verdict == NOT_ENOUGH_DATA:
        raise typer.Exit(3)


def _progress(text: str, share: float, answer: Localization | None) -> None:
    if sys.stderr.isatty():
        first = f"; so far: {answer.causes[0].component} {answer.causes[0].target}" if answer is not None and answer.causes else ""
        print(f"\r\033[K{share:4.0%} {text}{plain(first)}", end="" if share < 1 else "\n", file=sys.stderr, flush=True)


def _interval(measured: Measured) -> str:
    if not math.isfinite(measured.high - measured.low):
        return "too few members to say"
    return f"{measured.low:.4g} to {measured.high:.4g}"


def _show(answer: Localization) -> None:
    windows = (("baseline", answer.baseline), ("incident", answer.incident))
    rows = [(name, m.window, m.value, _interval(m), m.requests) for name, m in windows]
    table(rows, ("window", "", answer.metric, "95% interval", "requests"))
    print(f"\n{answer.verdict}: {plain(answer.reason)}")
    if answer.where_it_moved:
        print(plain(answer.where_it_moved))
    if answer.causes:
        print()
        table(
            [
                (
                    n,
                    c.component,
                    c.target,
                    "; ".join(f"{k}={','.join(map(str, v))}" for k, v in c.where.items()) or "everything",
                    c.since,
                    f"{c.explains:.0%} ({c.low:.0%} to {c.high:.0%})",
                    c.proof,
                    f"{c.confidence:.2f}",
                    c.owner,
                )
                for n, c in enumerate(answer.causes, start=1)
            ],
            ("", "component", "target", "where", "since", "explains", "proof", "confidence", "owner"),
        )
        for n, cause in enumerate(answer.causes, start=1):
            for evidence in cause.evidence:
                print(f"  {n}. {plain(evidence.text)}")
    if answer.ruled_out:
        print("\nRuled out")
        for r in answer.ruled_out:
            print(f"  {plain(f'{r.component} {r.target}'.strip())}: {plain(r.reason)}")
    if answer.unplayed:
        print(f"\n{answer.unplayed} {answer.elapsed_s:.1f} s.")
    elif answer.replayable_share == answer.replayable_share:
        print(f"\n{answer.replayable_share:.0%} of the requests can be replayed. {answer.elapsed_s:.1f} s.")
