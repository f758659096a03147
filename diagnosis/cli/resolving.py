"""`diagnosis rehearse`, and what it shares with `diagnosis hotfix`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diagnosis.cli.output import Folder, Json, document, moment, plain, table
from diagnosis.errors import HotfixError

if TYPE_CHECKING:
    from diagnosis.reproduce import Workbench
    from diagnosis.resolve.actions import Action
    from diagnosis.resolve.rehearsal import Rehearsal
    from diagnosis.resolve.scene import Scene

_SLICES = 8  # harmed slices that are shown
REFUSED = 5  # exit status of a rehearsal that refuses

Actions = Annotated[
    list[str] | None,
    typer.Option("--action", help="KIND:TARGET[=VALUE][@SHARE][?WHERE], as set_feature:price=last_good?device=tv; may be repeated."),
]
Incident = Annotated[str, typer.Option("--incident", help="Key of an incident that detection found: metric, windows and cause are its.")]
Found = Annotated[
    Path | None, typer.Option("--found", help="A document of `diagnosis localize --json`: metric, windows and cause are its.")
]
Cause = Annotated[int, typer.Option("--cause", min=1, help="Which of its causes.")]
MetricName = Annotated[str, typer.Option("--metric", help="What shall come back.")]
Baseline = Annotated[str, typer.Option("--baseline", help="When it was well, A..B; before the window when not given.")]
Since = Annotated[str | None, typer.Option("--since", help="Requests from here on are played; the log's last quarter when not given.")]
Until = Annotated[str | None, typer.Option("--until", help="And up to here.")]
Requests = Annotated[int, typer.Option("--requests", min=50, help="At most so many requests of each window.")]
Environment = Annotated[str, typer.Option("--environment", help="Where it is published; a name that the log does not have is for all.")]
MaxShare = Annotated[float, typer.Option("--max-share", min=0.0001, max=1.0, help="Cap on the share of requests that may be touched.")]
Accept = Annotated[list[str] | None, typer.Option("--accept-harm", help="A task that may be harmed; may be repeated, and is audited.")]


@dataclass(frozen=True, eq=False)
class Asked:
    """What a fix is for: metric, windows, and the cause where one is known."""

    bench: Workbench
    metric: str
    baseline: Any
    window: Any
    cause: Mapping[str, Any] | None
    where: str = ""

    def scene(self, requests: int, quiet: bool) -> Scene:
        """The requests, ready to be played."""
        from diagnosis.localize import metric_of
        from diagnosis.resolve.scene import open_scene

        tell = (lambda text, share: None) if quiet or not sys.stderr.isatty() else _progress
        return open_scene(self.bench, metric_of(self.bench, self.metric), self.baseline, self.window, most=requests, progress=tell)

    @property
    def onset(self) -> datetime:
        """Since when things are broken."""
        told = (self.cause or {}).get("since")
        since: datetime = datetime.fromisoformat(told) if told else self.window.since
        return since


def asked_of(
    workspace: Path, incident: str, found: Path | None, cause: int, metric: str, baseline: str, since: str | None, until: str | None
) -> Asked:
    """Metric, windows and cause: of an incident, of a localization, or as said.

    Raises
    ------
    NotFoundError, HotfixError, WindowError, CannotSayError
    """
    from diagnosis.detect.incidents import incident as kept
    from diagnosis.localize import Window, parse_window
    from diagnosis.localize.asking import ask
    from diagnosis.reproduce import Workbench

    bench = Workbench.open(workspace)
    if incident:
        known = kept(bench.state, bench.workspace.id, incident)
        if known.window is None or known.baseline is None:
            raise HotfixError(f"Incident {incident!r} has no windows yet.", "give --metric, --baseline, --since and --until.")
        metric, where = known.asked
        return Asked(bench, metric, known.baseline, known.window, known.cause, where)
    if found is not None:
        held = localized(found)
        before, after = (Window(*(datetime.fromisoformat(held[w][k]) for k in ("since", "until"))) for w in ("baseline", "incident"))
        causes = held.get("causes") or []
        return Asked(
            bench, held["metric"], before, after, causes[cause - 1] if len(causes) >= cause else None, str(held.get("where") or "")
        )
    first, last = moment(since), moment(until)
    log = bench.snapshot.window()
    window = Window(first, last or log[1]) if first is not None and log is not None else None
    question = ask(log, metric, parse_window(baseline) if baseline else None, window)
    return Asked(bench, question.metric, question.baseline, question.incident, None)


def localized(file: Path) -> Any:
    """A document of `diagnosis localize --json`.

    Raises
    ------
    HotfixError
    """
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        if not {"metric", "baseline", "incident"} <= set(held):
            raise ValueError("no answer of localize")
    except (OSError, ValueError, TypeError) as error:
        raise HotfixError(f"{file.name} is no document of `diagnosis localize --json`: {error}.") from None
    return held


def actions_of(asked: Asked, texts: list[str] | None, fix: Path | None = None) -> tuple[Action, ...]:
    """Actions from the command line and from a prepared file, ready to be played and signed.

    Raises
    ------
    HotfixError, FilterError
    """
    from dataclasses import replace

    from diagnosis.resolve.actions import SENTINEL, bound, parse_action
    from diagnosis.resolve.document import Prepared
    from diagnosis.resolve.options import Trouble

    made = [parse_action(text, before=asked.onset) for text in texts or []]
    if fix is not None:
        made += Prepared.from_bytes(bytes_of(fix)).fix.actions
    if not made:
        raise HotfixError("No action is given.", "say --action, or --fix FILE; `diagnosis hotfix options` lists what can be done.")
    whole = []
    for action in made:
        if action.kind == "set_feature" and action.values["to"] == SENTINEL and action.values["value"] is None:
            trouble = Trouble(asked.bench, {"target": action.values["feature"]}, asked.baseline, asked.window)
            sentinel = trouble.contracts[str(action.values["feature"])].sentinel
            if sentinel is None:
                raise HotfixError(f"The contract of {action.values['feature']} names no sentinel.", "give a value.")
            action = replace(action, values={**action.values, "value": sentinel})
        whole.append(bound(action, asked.bench.snapshot))
    return tuple(whole)


def bytes_of(file: Path) -> bytes:
    """What a file holds, as far as a hotfix may go.

    Raises
    ------
    HotfixError
    """
    from diagnosis.resolve.seal import LIMIT

    try:
        with file.expanduser().open("rb") as held:
            return held.read(3 * LIMIT)
    except OSError as error:
        raise HotfixError(f"The file cannot be read: {error}.") from None


def rehearse(
    workspace: Folder,
    action: Actions = None,
    fix: Annotated[Path | None, typer.Option("--fix", help="A prepared hotfix.")] = None,
    incident: Incident = "",
    found: Found = None,
    cause: Cause = 1,
    metric: MetricName = "ctr",
    baseline: Baseline = "",
    since: Since = None,
    until: Until = None,
    requests: Requests = 6000,
    environment: Environment = "all",
    max_share: MaxShare = 1.0,
    accept_harm: Accept = None,
    as_json: Json = False,
) -> None:
    """Play a fix on logged requests of all tasks, before anybody publishes it.

    JSON: actions, metric, unit, direction, window, refused (empty if nothing speaks against it), now, fixed, baseline ([value, low, high]),
    whole, tasks, slices (each {attribute, value, served, fixed, change, low, high, better, q, requests, changed, touched, verdict}),
    fixed_share, unchanged_share, harmed_share, blast, cap, pages_changed, latency {served_ms, fixed_ms, logged_ms, pinned_ms}, proof,
    requests, accepted, harmed, notes, examples, comes_back, sentence. Exit status 5 if it is refused, 3 if the log cannot tell.
    """
    from diagnosis.resolve.rehearsal import rehearse as play

    asked = asked_of(workspace, incident, found, cause, metric, baseline, since, until)
    actions = actions_of(asked, action, fix)
    made = play(asked.scene(requests, as_json), actions, environment=environment, cap=max_share, accept=accept_harm or ())
    document(made.as_json()) if as_json else _show(made)
    if made.refused:
        raise typer.Exit(REFUSED)


def _show(made: Rehearsal) -> None:
    for sentence in made.actions:
        print(f"• {plain(sentence)}")
    print()
    levels = (("now", made.now), ("with the fix", made.fixed), ("baseline", made.baseline))
    table([(name, v, f"{low:.4g} to {high:.4g}") for name, (v, low, high) in levels], ("", made.metric, "95% interval"))
    print()
    worst = sorted((g for g in made.slices if g.verdict == "harmed"), key=lambda g: g.q)
    rows = [
        (g.name, g.served, f"{g.change:+.4g}", f"{g.low:+.4g} to {g.high:+.4g}", g.requests, g.changed, g.verdict)
        for g in (*made.tasks, *worst[:_SLICES])
    ]
    table(rows, ("slice", "as served", "change", "95% interval", "requests", "changed", ""))
    if len(worst) > _SLICES:
        print(f"… and {len(worst) - _SLICES} other slices are harmed.")
    print(f"\n{plain(made.sentence)}.")
    print(f"{made.pages_changed:.1%} of all pages change; by {made.proof}, over {made.requests:,} requests of {plain(made.window)}.")
    if made.latency.fixed_ms == made.latency.fixed_ms:
        print(f"Scoring takes {made.latency.fixed_ms:.2f} ms a request here, {made.latency.served_ms:.2f} ms as it was served.")
    for note in made.notes:
        print(f"Note: {plain(note)}.")
    print(f"\nREFUSED: {plain(made.refused)}" if made.refused else "\nNothing speaks against it.")


def _progress(text: str, share: float) -> None:
    print(f"\r\033[K{share:4.0%} {text}", end="" if share < 1 else "\n", file=sys.stderr, flush=True)
