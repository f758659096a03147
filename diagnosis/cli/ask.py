"""Commands that ask: check, find, replay, inputs, explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from diagnosis.cli.output import Folder, Json, document, moment, plain, span, table

RequestId = Annotated[str, typer.Argument(metavar="REQUEST", help="Request id.")]


def check(
    workspace: Folder,
    ml_test_score: Annotated[bool, typer.Option("--ml-test-score", help="The 28 tests of production readiness, as measured.")] = False,
    objectives: Annotated[bool, typer.Option("--objectives", help="How every service level objective stands.")] = False,
    as_json: Json = False,
) -> None:
    """Is everything readable and admitted? What to fix. Or: how ready for production is it? Are the objectives kept?

    JSON: workspace, ok, findings: [{what, state (ok|warn|fail), text, fix}].

    JSON with --ml-test-score: workspace, score, points: {data, model, infrastructure, monitoring}, watched (whether detection runs here),
    sentence, tests: [{section, number, test, answer (holds|missing|cannot_tell), points (0|0.5|1), found, to_do}].

    JSON with --objectives: workspace, objectives: [{indicator, form (events|time|value), task, environment, subject, phase, target,
    threshold, tolerance, window_days, name, alarm, state (kept|missed|open|no_target|cannot_say), value: {value, low, high}, budget_left,
    burns: [{hours, rate, limit, urgency (page|ticket), alarm}], burning, reason}]. The value is the share of bad events or time, or the
    metric.
    """
    from diagnosis.reproduce import Workbench
    from diagnosis.reproduce.checkup import checkup

    if ml_test_score or objectives:
        (_ready if ml_test_score else _kept)(workspace, as_json)
        return
    findings = checkup(Workbench.open(workspace))
    ok = all(f.state != "fail" for f in findings)
    if as_json:
        document({"workspace": str(workspace), "ok": ok, "findings": [vars(f) for f in findings]})
        return
    table([(f.state, f.what, f.text, f.fix) for f in findings], ("state", "what", "found", "to fix"))


def _ready(workspace: Any, as_json: bool) -> None:
    from diagnosis.detect.readiness import readiness
    from diagnosis.reproduce import Workbench

    answer = readiness(Workbench.open(workspace))
    if as_json:
        document({"workspace": str(workspace), **answer.as_json()})
        return
    for section, points in answer.points.items():
        print(f"\n{section}: {points:g} of 7")
        for line in (one for one in answer.lines if one.section == section):
            print(f"  {line.number} {line.answer.replace('_', ' '):11} {line.points:g}  {plain(line.test)}")
            print(f"      {plain(line.found)}")
            if line.to_do:
                print(f"      to do: {plain(line.to_do)}")
    print(f"\n{plain(answer.sentence)}")
    if not answer.watched:
        print("Nothing counts as automated: detection has not run here yet.")


def _kept(workspace: Any, as_json: bool) -> None:
    from diagnosis.detect.objectives import as_table, objectives
    from diagnosis.reproduce import Workbench

    found = objectives(Workbench.open(workspace))
    if as_json:
        document({"workspace": str(workspace), "objectives": [status.as_json() for status in found]})
        return
    frame = as_table(found)
    table(frame.itertuples(index=False), [name.replace("_", " ") for name in frame.columns])


def find(
    workspace: Folder,
    request: Annotated[str | None, typer.Option(help="Request id.")] = None,
    member: Annotated[str | None, typer.Option(help="Member key.")] = None,
    item: Annotated[str | None, typer.Option(help="Item among the candidates.")] = None,
    task: Annotated[str | None, typer.Option(help="Task.")] = None,
    status: Annotated[str | None, typer.Option(help="Status.")] = None,
    model_version: Annotated[str | None, typer.Option(help="Model version.")] = None,
    where: Annotated[str, typer.Option(help="attribute=value,value;attribute>=number")] = "",
    since: Annotated[str | None, typer.Option(help="First moment, UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="First moment after, UTC.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10000, help="At most so many.")] = 20,
    as_json: Json = False,
) -> None:
    """Find requests, the latest first.

    JSON: kept, estimated, requests: [{request_id, served_at, task, status, member, model, model_version, weight, …}].
    """
    from diagnosis.log import parse_filter
    from diagnosis.store import Query, Workspace

    query = Query(
        where=parse_filter(where),
        request_id=request,
        member=member,
        item=item,
        task=task,
        status=status,
        model_version=model_version,
        since=moment(since),
        until=moment(until),
        limit=limit,
    )
    snapshot = Workspace.open(workspace).snapshot()
    found, count = snapshot.find(query), snapshot.count(query)
    if as_json:
        rows = found.reset_index().to_dict("records")
        document({"kept": count.kept, "estimated": count.estimated, "requests": [_unmapped(row) for row in rows]})
        return
    names = [c for c in ("served_at", "task", "status", "member", "model_version", "latency_ms", "weight") if c in found]
    table(found[names].reset_index().itertuples(index=False), ["request_id", *names])
    print(f"{len(found)} of {count.kept} logged requests, which stand for about {count.estimated:.0f}.")


def replay(
    workspace: Folder,
    request: RequestId,
    model_version: Annotated[str | None, typer.Option(help="Score with this version, or name/version.")] = None,
    ruleset: Annotated[str | None, typer.Option(help="Rule with this version.")] = None,
    edits: Annotated[list[str] | None, typer.Option("--set", help="item:feature=value; * for all candidates. Repeatable.")] = None,
    tolerance: Annotated[float, typer.Option(min=0.0, help="Score difference that still counts as the same.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Replay a request, as it was or with changes. Exit status 3 when it is not replayable.

    JSON: verdict (exact|same_order|reordered|different_scores|not_replayable), reasons, first_stage, candidates: [{item_id,
    logged_score, replayed_score, logged_rank, replayed_rank, logged_position, replayed_position, logged_dropped_by,
    replayed_dropped_by}], and sentence, model, model_version, ruleset_version, tolerance, gap, noise_floor, edits, problems;
    of a composite model also stages: [{stage, logged, replayed, gap, dropped, same, text}].
    """
    from diagnosis.reproduce import Edits, Workbench, parse_edit

    wanted = Edits(tuple(parse_edit(text) for text in edits or ()), model_version, ruleset)
    answer = Workbench.open(workspace).replay(request, edits=wanted, tolerance=tolerance, noise=True)
    if as_json:
        document(answer.as_json())
    else:
        rows = answer.rows.sort_values(["replayed_position", "logged_position", "replayed_rank"], na_position="last")
        names = ["logged", "replayed", "logged_rank", "replayed_rank", "logged_position", "replayed_position", "replayed_dropped_by"]
        table(rows[names].reset_index().itertuples(index=False), ["item", *(n.replace("_", " ") for n in names)])
        if len(answer.stages):
            table(answer.stages.reset_index().itertuples(index=False), ["stage", "logged", "replayed", "gap", "dropped", "same", ""])
        print(plain(answer.sentence))
        for problem in answer.problems:
            print(f"  {problem.kind}: {plain(problem.text)}")
    if answer.verdict == "not_replayable":
        raise typer.Exit(3)


def inputs(
    workspace: Folder,
    request: Annotated[str | None, typer.Argument(metavar="[REQUEST]", help="Request id; or give two windows instead.")] = None,
    baseline: Annotated[str | None, typer.Option(metavar="A..B", help="Window to compare with; UTC, its end not included.")] = None,
    incident: Annotated[str | None, typer.Option(metavar="C..D", help="Window that is in question.")] = None,
    where: Annotated[str, typer.Option(help="Of windows: attribute=value,value;attribute>=number")] = "",
    features: Annotated[list[str] | None, typer.Option("--feature", help="Of windows: only this one. Repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Were the inputs of a request valid? Or: which features drifted between two windows?

    JSON: of a request: request_id, sentence, roots, checks: [{feature, check, outcome (ok|failed|not_applicable), failed, of, observed,
    expected, unit, owner, upstream, item_id, root}].

    JSON: of windows: where, level, baseline and incident: {since, until, requests, estimated}, verdict (drift|no_drift), sentence, features:
    [{feature, source, kind (number|text), moved, effect, usual, p, q, changed, baseline, incident, text, distances: {total_variation, jensen_shannon, psi,
    wasserstein: {value, low, high}}, shares: {missing, nan, infinite, sentinel, never_seen, constant, violations, not_sentinel: {baseline,
    incident: {value, low, high}}}, bins: [{bin, baseline, incident}]}], those that moved and the largest effect first; not_comparable: [{name, source, type, why}].
    """
    windows = (baseline, incident)
    if request is None:
        if None in windows:
            raise ValueError("give a REQUEST, or --baseline A..B and --incident C..D.")
        _drift(workspace, span(str(baseline)), span(str(incident)), where, features, as_json)
        return
    if windows != (None, None) or where or features:
        raise ValueError("--baseline, --incident, --where and --feature compare windows; leave out the REQUEST.")
    from diagnosis.inputs import check as check_inputs
    from diagnosis.reproduce import Workbench

    workbench = Workbench.open(workspace)
    checks = check_inputs(workbench, workbench.request(request))
    if as_json:
        document(
            {
                "request_id": checks.request_id,
                "sentence": checks.sentence,
                "roots": checks.roots,
                "checks": checks.rows.to_dict("records"),
            }
        )
        return _unless_nothing(checks.done)
    names = ["outcome", "feature", "check", "failed", "of", "observed", "expected", "owner", "root"]
    shown = checks.rows[checks.rows["outcome"] != "not_applicable"]
    table(shown[names].itertuples(index=False), names)
    print(plain(checks.sentence))
    _unless_nothing(checks.done)


def _unless_nothing(done: int) -> None:
    """Leave with 3, "cannot say", where nothing could be checked."""
    if not done:
        raise typer.Exit(3)


def _drift(workspace: Any, baseline: Any, incident: Any, where: str, features: list[str] | None, as_json: bool) -> None:
    from diagnosis.inputs import drift
    from diagnosis.log import parse_filter
    from diagnosis.store import Workspace

    found = drift(Workspace.open(workspace).snapshot(), baseline, incident, where=parse_filter(where), features=features)
    if as_json:
        document(found.as_json())
        return
    names = ["moved", "effect", "usual", "q", "text"]
    shown = found.rows.head(40)
    table(shown[names].reset_index().itertuples(index=False), ["feature", "drifted", "effect", "usual", "q", "what changed"])
    if len(shown) < len(found.rows):
        print(f"and {len(found.rows) - len(shown)} more")
    for aside in found.aside:
        print(f"  not compared: {plain(aside.source)} ({plain(aside.why)})")
    print(plain(found.sentence))


def explain(
    workspace: Folder,
    request: RequestId,
    item: Annotated[str | None, typer.Option(help="Candidate to explain; the first on the page when not given.")] = None,
    above: Annotated[str | None, typer.Option(help="Explain why ITEM stands above this one.")] = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="With --above: what features make alone and in pairs.")] = False,
    swaps: Annotated[bool, typer.Option("--swaps", help="With --above: the smallest edits that would turn the order round.")] = False,
    trees: Annotated[
        bool, typer.Option("--trees", help="What features do on the way through the trees, and which trees part the two.")
    ] = False,
    tree: Annotated[int | None, typer.Option(min=0, help="The way through this tree, from 0.")] = None,
    surrogate: Annotated[bool, typer.Option("--surrogate", help="A line around the item's score, beside its SHAP values.")] = False,
    layers: Annotated[bool, typer.Option("--layers", help="What the units of a neural network give.")] = False,
    training: Annotated[bool, typer.Option("--training", help="And the training rows behind it.")] = False,
    stage: Annotated[str, typer.Option(help="Of a composite model: the stage to explain; the last when not given.")] = "",
    against: Annotated[
        str | None, typer.Option(help="A..B: against the candidates of this window, such as the baseline, instead of the training rows.")
    ] = None,
    where: Annotated[str, typer.Option(help="With --against: only requests like these, such as device=tv.")] = "",
    as_json: Json = False,
) -> None:
    """Which features made the score of an item, or put it above another; and where on its way it fell out.

    JSON: request_id, item, score, base, residual, scale, method, contributions: [{feature, contribution, value}], funnel:
    {sentence, lacking, stages: [{stage, outcome, text}]}; with --above also above: {item, margin, residual, sentence, differences:
    [{feature, difference, a, b}], differing, alike (the margin by features in which they differ, and are the same), upstreams: [{upstream,
    difference, features, differ}]}.

    JSON: inside, of what is asked for: pairs: [{feature, with, difference}]; swaps: {sentence, tried, complete, swaps: [{edits, before, size,
    margin, sentence}]}; trees: {sentence, features, trees}; tree: {sentence, paths: {item: {leaf, value, rows, steps: [{split, feature,
    question, value, answer, why, rows, gain}]}}, drawing: {nodes, edges, folded}, dot}; surrogate: {sentence, fidelity, faithful, disputed,
    features: [{feature, slope, low, high, step, effect, shap, agrees}]}; layers: {residual, units}.

    JSON: with --training also training: {model_version, rows, used, sentences: {coverage, support, influence},
    values: [{feature, value, state (never|hardly|seen), rows, text}], pairs: [{a, b, value_a, value_b, state, rows, expected, text}], leaves:
    [{tree, leaf, value, pull, rows, requests, weight, label, low, high, first_at, last_at, tasks}], groups: [{attribute, value, rows, share,
    usual, label, usual_label}], near: [{likeness, label, weight, …}], influential: [{effect, label, weight, …}], slices: [{attribute, value,
    rows, weight, label, effect, gross, refit}], reproduced}, what cannot be told left out.
    """
    from diagnosis.cli.explaining import Wanted, parts
    from diagnosis.internals import above as compare
    from diagnosis.internals import explain as contributions_of
    from diagnosis.internals import funnel
    from diagnosis.internals.contributions import place_of
    from diagnosis.reproduce import Workbench

    wanted = Wanted(pairs, swaps, trees, tree, surrogate, layers)
    wanted.check(above)
    if where and not against:
        raise ValueError("--where says which requests to explain against; give --against A..B too.")
    workbench = Workbench.open(workspace)
    logged = workbench.request(request)
    item = item or _first(logged)
    way = funnel(logged, item)
    answer: dict[str, Any] = {"request_id": request, "item": item}
    answer["funnel"] = {"sentence": way.sentence, "lacking": way.lacking, "stages": way.rows.reset_index().to_dict("records")}
    if item in logged.items:
        given = _against(workbench, logged, against, where, stage) if against else contributions_of(workbench, logged, stage=stage)
        mine = given.of(item)
        row = place_of(given, item)
        answer |= {"score": given.score[row], "base": given.base[row], "residual": given.residual, "scale": given.scale}
        answer |= {"method": given.method, "contributions": mine.reset_index().to_dict("records")}
        if above is not None:
            other = compare(given, item, above)
            differences = other.rows.reset_index()[["feature", "difference", "a", "b"]].to_dict("records")
            answer["above"] = {"item": above, "margin": other.margin, "residual": other.residual, "sentence": other.sentence}
            answer["above"]["differences"] = differences
        inside = parts(workbench, logged, given, item, above, wanted, stage)
        if above is not None:
            answer["above"] |= {key: inside.pop(key) for key in ("differing", "alike", "upstreams")}
        if inside:
            answer["inside"] = inside
    told = _behind(workbench, logged, item, above) if training else None
    if told is not None:
        answer["training"] = told.as_json()
    if as_json:
        document(answer)
        return
    if told is not None:
        _show_behind(told)
    _explained(answer, item, above)
    print(plain(way.sentence))


def _explained(answer: Mapping[str, Any], item: str, above: str | None) -> None:
    """What `explain` found, for people."""
    from diagnosis.cli.explaining import show

    if "above" in answer:
        table([tuple(r.values()) for r in answer["above"]["differences"][:15]], ("feature", "difference", item, answer["above"]["item"]))
        print(plain(answer["above"]["sentence"]))
    elif "contributions" in answer:
        table([tuple(r.values()) for r in answer["contributions"][:15]], ("feature", "contribution", "value"))
        print(
            f"score {answer['score']:.6g} = base {answer['base']:.6g} + contributions, residual {answer['residual']:.1g} ({answer['scale']}; "
            f"{answer['method']})"
        )
    show(answer.get("inside", {}), item, above)


def _against(workbench: Any, request: Any, window: str, where: str, stage: str) -> Any:
    from diagnosis.internals import explain_against
    from diagnosis.localize import parse_window
    from diagnosis.log import parse_filter
    from diagnosis.store import Query

    chosen = parse_window(window)
    return explain_against(workbench, request, Query(where=parse_filter(where), since=chosen.since, until=chosen.until), stage=stage)


def _behind(workbench: Any, request: Any, item: str, above: str | None) -> Any:
    from diagnosis.internals import behind

    return behind(workbench, request, item, above=above or "")


def _show_behind(told: Any) -> None:
    if told.support is not None:
        names = ["likeness", "label", *(n for n in ("request_id", "item_id", "task", "at") if n in told.support.near)]
        table(told.support.near.head(8)[names].itertuples(index=False), ["alike", *names[1:]])
    if told.influence is not None and told.influence.faithful:
        names = ["attribute", "value", "rows", "label", "refit"]
        table(
            told.influence.slices.head(8)[names].itertuples(index=False), ["slice", "value", "training rows", "label", "score without it"]
        )
    for sentence in told.sentences.values():
        print(plain(sentence))
    print()


def _first(request: Any) -> str:
    rows = request.candidates
    if rows.empty:
        from diagnosis.errors import CannotSayError

        raise CannotSayError(f"Request {request.request_id!r} has no candidates.")
    for column in ("position", "rank"):
        if column in rows and rows[column].notna().any():
            return str(rows[column].astype("Float64").idxmin())
    return str(rows.index[0])


def _unmapped(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Map columns (lists of pairs) as objects."""
    return {k: dict(v) if isinstance(v, list) and v and isinstance(v[0], tuple) else v for k, v in row.items()}
