"""`diagnosis case` and `diagnosis share`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from diagnosis.cli.output import Folder, Json, document, lines, plain, table

case = typer.Typer(
    help="Investigations: new, list, show, note, find, timeline, similar, checks, check, close, report, postmortem.", no_args_is_help=True
)
share = typer.Typer(help="Shared pages: create, list, revoke.", no_args_is_help=True)
CaseId = Annotated[str, typer.Argument(metavar="CASE", help="Case id.")]


def _opened(workspace: Path) -> tuple[Any, str]:
    from diagnosis.store import Workspace

    opened = Workspace.open(workspace)
    return opened.state(), opened.id


def _record(found: Any) -> dict[str, Any]:
    return {**{k: v for k, v in vars(found).items() if k != "entries"}, "entries": [vars(e) for e in found.entries]}


@case.command("new")
def new(
    workspace: Folder,
    title: Annotated[str, typer.Argument(help="What it is about.")],
    question: Annotated[str, typer.Option(help="Query string of the view it begins with.")] = "",
    as_json: Json = False,
) -> None:
    """Open a case. JSON: the case."""
    from diagnosis.cases import create_case

    state, key = _opened(workspace)
    made = create_case(state, key, title, question)
    document(_record(made)) if as_json else print(made.id)


@case.command("list")
def list_(workspace: Folder, as_json: Json = False) -> None:
    """Cases, the one that changed last first. JSON: cases."""
    from diagnosis.cases import list_cases

    state, key = _opened(workspace)
    found = list_cases(state, key)
    if as_json:
        document({"cases": [_record(c) for c in found]})
    else:
        table([(c.id, c.status, c.updated_at, c.title, c.verdict) for c in found], ("case", "status", "changed at", "title", "verdict"))


@case.command()
def show(workspace: Folder, case_id: CaseId, as_json: Json = False) -> None:
    """A case with its entries. JSON: the case."""
    from diagnosis.cases import get_case

    state, key = _opened(workspace)
    found = get_case(state, key, case_id)
    if as_json:
        document(_record(found))
        return
    print(f"{plain(found.title)} ({found.status})\nverdict: {plain(found.verdict or 'none yet')}")
    table([(e.created_at, e.actor, e.kind, e.text) for e in found.entries], ("at", "who", "kind", "text"))


@case.command()
def note(
    workspace: Folder,
    case_id: CaseId,
    text: Annotated[str, typer.Argument(help="What to write down.")],
    kind: Annotated[str, typer.Option(help="note, verdict or action.")] = "note",
    as_json: Json = False,
) -> None:
    """Add a note, a verdict or an action to a case. JSON: the case."""
    from diagnosis.cases import add_entry

    state, key = _opened(workspace)
    found = add_entry(state, key, case_id, kind, text)
    document(_record(found)) if as_json else print(f"{len(found.entries)} entries.")


@case.command()
def close(workspace: Folder, case_id: CaseId, as_json: Json = False) -> None:
    """Close a case. JSON: the case."""
    from diagnosis.cases import set_status

    state, key = _opened(workspace)
    found = set_status(state, key, case_id, "closed")
    document(_record(found)) if as_json else print("Closed.")


@case.command()
def report(
    workspace: Folder,
    case_id: CaseId,
    html: Annotated[bool, typer.Option("--html", help="HTML instead of Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """A case as Markdown or HTML. JSON: format, text."""
    from diagnosis.cases import case_page, get_case, render
    from diagnosis.cases.pages import case_markdown

    state, key = _opened(workspace)
    found = get_case(state, key, case_id)
    text = render(case_page(found, workspace=key)) if html else case_markdown(found, workspace=key)
    document({"format": "html" if html else "markdown", "text": text}) if as_json else print(lines(text))


@case.command("find")
def find(
    workspace: Folder,
    case_id: CaseId,
    found: Annotated[Path, typer.Argument(metavar="FOUND", help="A document of `diagnosis localize --json`.")],
    as_json: Json = False,
) -> None:
    """Write down what a localization found and what it ruled out, as hypotheses. JSON: the case."""
    from diagnosis.cases import add_findings, get_case
    from diagnosis.cli.resolving import localized

    state, key = _opened(workspace)
    get_case(state, key, case_id)
    made = add_findings(state, key, case_id, localized(found))
    document(_record(made)) if as_json else print(f"{sum(e.kind == 'hypothesis' for e in made.entries)} hypotheses.")


@case.command()
def timeline(workspace: Folder, case_id: CaseId, as_json: Json = False) -> None:
    """What happened, in order. JSON: events: [{at, what, who, text}]."""
    rows = _postmortem(workspace, case_id).story.rows()
    if as_json:
        document({"events": rows.to_dict("records")})
    else:
        table(rows.itertuples(index=False), ("at (UTC)", "what", "who", "text"))


@case.command()
def similar(workspace: Folder, case_id: CaseId, as_json: Json = False) -> None:
    """Past cases like this one, and in what. JSON: cases: [{case, title, similarity, shared, done}]."""
    found = _postmortem(workspace, case_id).similar
    if as_json:
        told = [{"case": s.case.id, "title": s.case.title, "similarity": s.similarity, "shared": s.shared, "done": s.done} for s in found]
        document({"cases": told})
    else:
        table([(s.case.id, f"{s.similarity:.2f}", s.case.title, "; ".join(s.shared)) for s in found], ("case", "", "title", "both have"))


@case.command()
def postmortem(
    workspace: Folder,
    case_id: CaseId,
    html: Annotated[bool, typer.Option("--html", help="HTML instead of Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """The post-mortem, with the three questions. JSON: format, text, answers: [{question, text, check: {name, metric, where} or null}]."""
    from diagnosis.cases import postmortem_markdown, postmortem_page, render

    made, (_, key) = _postmortem(workspace, case_id), _opened(workspace)
    text = render(postmortem_page(made, workspace=key)) if html else postmortem_markdown(made, workspace=key)
    if not as_json:
        print(lines(text))
        return
    checks = [None if a.check is None else {n: getattr(a.check, n) for n in ("name", "metric", "where")} for a in made.answers]
    answers = [{"question": a.question, "text": a.text, "check": c} for a, c in zip(made.answers, checks, strict=True)]
    document({"format": "html" if html else "markdown", "text": text, "answers": answers})


@case.command()
def check(
    workspace: Folder,
    name: Annotated[str, typer.Argument(help="Name of the check.")],
    metric: Annotated[str, typer.Option(help="What detection shall watch.")] = "",
    where: Annotated[str, typer.Option(help="For which requests.")] = "",
    case_id: Annotated[str, typer.Option("--case", help="The case that it comes from.")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Take it out of detection.")] = False,
    as_json: Json = False,
) -> None:
    """Add a check to detection, or take it out. JSON: checks."""
    from diagnosis.cases import Watch, add_watch, remove_watch
    from diagnosis.reproduce import Workbench

    bench = Workbench.open(workspace)
    if remove:
        remove_watch(bench.state, bench.workspace.id, name)
    else:
        add_watch(bench, Watch(name, metric, where, case_id))
    checks(workspace, as_json)


@case.command()
def checks(workspace: Folder, as_json: Json = False) -> None:
    """Checks that people added to detection. JSON: checks: [{name, metric, where, case, actor, created_at}]."""
    from diagnosis.cases import watches

    state, key = _opened(workspace)
    found = watches(state, key)
    if as_json:
        document({"checks": [vars(w) for w in found]})
    else:
        table([(w.name, w.metric, w.where, w.case, w.actor) for w in found], ("check", "metric", "where", "case", "by"))


def _postmortem(workspace: Path, case_id: str) -> Any:
    from diagnosis.cases import get_case, list_cases, postmortem, similar, story, watches
    from diagnosis.reproduce import Workbench
    from diagnosis.resolve.recovery import recovery

    bench = Workbench.open(workspace)
    state, key = bench.state, bench.workspace.id
    one = get_case(state, key, case_id)
    told = story(bench, one)
    others = [get_case(state, key, c.id) for c in list_cases(state, key) if c.id != case_id]
    seen = tuple(r for r in (recovery(bench, fix) for fix in told.fixes) if r is not None)
    return postmortem(told, watches(state, key), similar=tuple(similar(one, others)), recovered=seen)


@share.command()
def create(
    workspace: Folder,
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="Request whose diagnosis is frozen.")],
    days: Annotated[float, typer.Option(help="How long the link lives, in days.")] = 14.0,
    with_members: Annotated[bool, typer.Option("--with-members", help="Let member keys stand on the page.")] = False,
    as_json: Json = False,
) -> None:
    """Freeze the diagnosis of a request as a page. JSON: share, path, expires_at."""
    from diagnosis.cases import evidence_of, render, request_page
    from diagnosis.cases import share as keep
    from diagnosis.inputs import check
    from diagnosis.reproduce import Workbench

    workbench = Workbench.open(workspace)
    logged = workbench.request(request)
    page = request_page(
        logged,
        workbench.replay(logged),
        check(workbench, logged),
        evidence_of(workbench, logged),
        workspace=workbench.workspace.settings.title,
    )
    made = keep(workbench.state, workbench.workspace.id, page.title, render(page, with_members=with_members), days=days)
    answer = {"share": made.id, "path": f"/s/{made.token}", "expires_at": made.expires_at}
    document(answer) if as_json else print(f"{answer['path']}  (until {plain(made.expires_at)} UTC; served by `diagnosis serve`)")


@share.command("list")
def shares(workspace: Folder, as_json: Json = False) -> None:
    """Shares, the newest first. JSON: shares: [{id, title, status, opened, expires_at, …}]."""
    from diagnosis.cases import list_shares

    state, key = _opened(workspace)
    found = list_shares(state, key)
    if as_json:
        document({"shares": [{**{k: v for k, v in vars(s).items() if k != "token"}, "status": s.status} for s in found]})
    else:
        table([(s.id, s.status, s.opened, s.expires_at, s.title) for s in found], ("share", "status", "opened", "expires at", "title"))


@share.command()
def revoke(workspace: Folder, share_id: Annotated[str, typer.Argument(metavar="SHARE", help="Share id.")], as_json: Json = False) -> None:
    """Close a link for good. JSON: share, status."""
    from diagnosis.cases import revoke as close_link

    state, key = _opened(workspace)
    close_link(state, key, share_id)
    document({"share": share_id, "status": "revoked"}) if as_json else print("Revoked.")
