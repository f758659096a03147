"""`diagnosis hotfix`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diagnosis.cli.output import Folder, Json, document, plain, table
from diagnosis.cli.resolving import (
    Accept,
    Actions,
    Baseline,
    Cause,
    Environment,
    Found,
    Incident,
    MaxShare,
    MetricName,
    Requests,
    Since,
    Until,
    actions_of,
    asked_of,
    bytes_of,
)
from diagnosis.errors import HotfixError

if TYPE_CHECKING:
    from diagnosis.resolve.keys import Trust
    from diagnosis.resolve.ledger import Record
    from diagnosis.resolve.options import Option


hotfix = typer.Typer(
    help="Signed, expiring changes of what is served: options, propose, sign, publish, undo, list, status, keygen.", no_args_is_help=True
)
Serial = Annotated[int, typer.Argument(help="Serial of the hotfix.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A file that `hotfix propose` wrote.")]


@hotfix.command()
def keygen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key goes; only its owner can read it.")],
    name: Annotated[str, typer.Option(help="Whose it is.")] = "",
    as_json: Json = False,
) -> None:
    """Make a key pair; the printed line goes into the file of trusted keys, the file stays with its owner. JSON: name, public_key."""
    from diagnosis.resolve.keys import new_key
    from diagnosis.store.state import whoami

    who, key = name or whoami(), new_key(file)
    document({"name": who, "public_key": key}) if as_json else print(f"{json.dumps(who)} = {json.dumps(key)}")


@hotfix.command("options")
def options_(
    workspace: Folder,
    incident: Incident = "",
    found: Found = None,
    cause: Cause = 1,
    requests: Requests = 6000,
    environment: Environment = "all",
    max_share: MaxShare = 1.0,
    as_json: Json = False,
) -> None:
    """What can be done about a cause, each option rehearsed, the best first.

    JSON: cause, options: [{name, title, term, who, risk, undo, step, actions (as --action takes them), missing, rehearsal}].
    """
    from diagnosis.resolve.options import Trouble, options, ranked

    asked = asked_of(workspace, incident, found, cause, "ctr", "", None, None)
    if asked.cause is None:
        raise HotfixError("No cause is known yet.", "give --found FILE of `diagnosis localize --json`, or an incident that was localized.")
    listed = options(Trouble(asked.bench, asked.cause, asked.baseline, asked.window))
    if any(o.actions for o in listed):
        listed = ranked(asked.scene(requests, as_json), listed, environment=environment, cap=max_share)
    if as_json:
        document({"cause": asked.cause, "options": [_option(o) for o in listed]})
        return
    for option in listed:
        print(f"\n{plain(option.play.title)}  ({option.play.term}-term; {plain(option.play.who)})")
        print(f"  {plain(option.play.step)}\n  risk: {plain(option.play.risk)}  undo: {plain(option.play.undo)}")
        for act in option.actions:
            print(f"  --action {plain(act)!r}")
        if option.missing:
            print(f"  not possible here: {plain(option.missing)}")
        if option.rehearsal is not None:
            print(
                f"  rehearsed: {plain(option.rehearsal.sentence)}{'; REFUSED: ' + plain(option.rehearsal.refused) if option.rehearsal.refused else ''}"
            )


def _option(option: Option) -> dict[str, Any]:
    p = option.play
    texts = {name: getattr(p, name) for name in ("name", "title", "term", "who", "risk", "undo", "step")}
    made = option.rehearsal.as_json() if option.rehearsal is not None else None
    return {**texts, "actions": [str(a) for a in option.actions], "missing": option.missing, "rehearsal": made}


@hotfix.command()
def propose(
    workspace: Folder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the document to sign goes.")],
    reason: Annotated[str, typer.Option(help="Why, in one sentence.")],
    action: Actions = None,
    environment: Environment = "all",
    hours: Annotated[float, typer.Option(min=0.1, max=168, help="How long it holds.")] = 24.0,
    max_share: MaxShare = 0.25,
    incident: Incident = "",
    found: Found = None,
    cause: Cause = 1,
    metric: MetricName = "ctr",
    baseline: Baseline = "",
    since: Since = None,
    until: Until = None,
    requests: Requests = 6000,
    case: Annotated[str, typer.Option(help="Case that it belongs to.")] = "",
    accept_harm: Accept = None,
    unrehearsed: Annotated[str, typer.Option(help="Why it goes out though the log cannot rehearse it; audited.")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Take back everything that is in force.")] = False,
    as_json: Json = False,
) -> None:
    """Rehearse a fix and write it, with its undo, into a file to be signed. JSON: serial, file, refused, expires_at, actions."""
    from diagnosis.resolve.proposing import Proposal, rehearsed, watched
    from diagnosis.resolve.proposing import propose as write

    asked = asked_of(workspace, incident, found, cause, metric, baseline, since, until)
    actions = () if revoke else actions_of(asked, action)
    proposal = Proposal(actions, environment, reason, hours, max_share, case, tuple(accept_harm or ()), unrehearsed)
    held = {} if revoke else rehearsed(asked.scene(requests, as_json), proposal)
    watch = watched(asked.metric, asked.where, asked.baseline, asked.window, asked.cause)
    made = write(asked.bench.state, asked.bench.workspace.id, proposal, held, watch)
    _handed(made, file, workspace, as_json)


def _handed(made: Record, file: Path, workspace: Path, as_json: bool) -> None:
    """Write the file to sign, unless the rehearsal refused it."""
    fix = made.prepared.fix
    if made.rehearsal.get("refused"):
        raise HotfixError(f"The rehearsal refuses it: {made.rehearsal['refused']}", "narrow its slice, or --accept-harm TASK.")
    file.write_bytes(made.prepared.as_bytes())
    if as_json:
        told = {
            "serial": fix.serial,
            "file": str(file),
            "refused": "",
            "expires_at": fix.expires_at,
            "actions": [a.sentence for a in fix.actions],
        }
        document(told)
        return
    _told(made.prepared)
    print(
        f"\nEvery signer runs:  diagnosis hotfix sign {file} --key THEIR-KEY\nThen:               diagnosis hotfix publish {workspace} {file}"
    )


def _told(prepared: Any) -> None:
    fix = prepared.fix
    print(
        f"Hotfix {fix.serial} for workspace {plain(fix.workspace)}, environment {plain(fix.environment)}, until {plain(fix.expires_at)} UTC"
    )
    print(f"Reason: {plain(fix.reason)}\nTouches at most {fix.max_share:.1%} of the requests.")
    for act in fix.actions:
        print(f"• {plain(act.sentence)}")
    if not fix.actions:
        print("• nothing is done otherwise any more")
    left = f"leaves {len(prepared.undo.actions)} earlier actions in force" if prepared.undo.actions else "leaves nothing in force"
    print(f"Its undo, {prepared.undo.serial}, is signed with it and {left}.")


@hotfix.command()
def sign(
    file: File,
    key: Annotated[Path, typer.Option(help="Your private key.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Sign a prepared fix and its undo with your key; the file gains your signatures. JSON: serial, public_key, signatures."""
    from diagnosis.resolve.document import Prepared
    from diagnosis.resolve.keys import private_key, public, signed

    prepared, held = Prepared.from_bytes(bytes_of(file)), private_key(key)
    if not as_json:
        _told(prepared)
    if not yes and not typer.confirm("Sign it?", err=True):
        raise typer.Exit(2)
    made = signed(prepared, held)
    file.write_bytes(made.as_bytes())
    count = len(made.signatures["fix"])
    told = {"serial": prepared.fix.serial, "public_key": public(held), "signatures": count}
    document(told) if as_json else print(f"Signed; {count} signature{'s' * (count != 1)} in the file.")


@hotfix.command()
def publish(
    workspace: Folder,
    file: File,
    to: Annotated[str, typer.Option(help="Folder, s3://…, gs://…, https://…; else what the file of trusted keys says.")] = "",
    as_json: Json = False,
) -> None:
    """Publish a fix that is fully signed. JSON: serial, address, status, signed_by, one_person."""
    from diagnosis.resolve import ledger
    from diagnosis.resolve.document import Prepared

    state, here, trust = _ledger(workspace)
    prepared = Prepared.from_bytes(bytes_of(file))
    ledger.add_signatures(state, here, prepared, trust)
    made = ledger.publish(state, here, prepared.fix.serial, trust, to=to)
    _published(made, trust, as_json, f"Published at {made.address}. Undo:  diagnosis hotfix undo {workspace} {made.serial}")


@hotfix.command()
def undo(workspace: Folder, serial: Serial, as_json: Json = False) -> None:
    """Publish the undo that was signed with a fix. JSON: serial, address, status, signed_by, one_person."""
    from diagnosis.resolve import ledger

    state, here, trust = _ledger(workspace)
    made = ledger.publish(state, here, serial, trust, undo=True)
    _published(made, trust, as_json, f"Undone at {made.address}.")


def _ledger(workspace: Path) -> tuple[Any, str, Trust]:
    from diagnosis.resolve.keys import trusted
    from diagnosis.store import Workspace

    opened, trust = Workspace.open(workspace), trusted()
    if trust.warning:
        print(f"WARNING: {trust.warning}", file=sys.stderr)
    return opened.state(), opened.id, trust


def _known() -> Trust | None:
    """Who is trusted; None where no file says so."""
    from diagnosis.resolve.keys import trusted

    try:
        return trusted()
    except HotfixError:
        return None


def _published(made: Any, trust: Trust, as_json: bool, text: str) -> None:
    from diagnosis.resolve.keys import signers

    who = trust.names(signers(made.prepared, trust))
    told = {"serial": made.serial, "address": made.address, "status": made.status, "signed_by": who, "one_person": trust.one_person}
    document(told) if as_json else print(f"{plain(text)}\nSigned by {plain(', '.join(who))}.")


@hotfix.command("list")
def list_(workspace: Folder, as_json: Json = False) -> None:
    """Hotfixes, the latest first. JSON: hotfixes: [{serial, status, environment, expires_at, reason, actions, rehearsal, address, …}]."""
    from diagnosis.resolve import ledger
    from diagnosis.store import Workspace

    opened, now = Workspace.open(workspace), datetime.now(UTC)
    found = ledger.records(opened.state(), opened.id)
    if as_json:
        document({"hotfixes": [_record(r, now) for r in found]})
        return
    rows = [
        (r.serial, r.state_at(now), r.prepared.fix.environment, r.prepared.fix.expires_at, r.prepared.fix.reason, r.actor) for r in found
    ]
    table(rows, ("serial", "status", "environment", "until", "reason", "by"))


def _record(r: Any, now: datetime) -> dict[str, Any]:
    fix = r.prepared.fix
    return {
        "serial": r.serial,
        "status": r.state_at(now),
        "environment": fix.environment,
        "expires_at": fix.expires_at,
        "reason": fix.reason,
        "case": fix.case,
        "actions": [str(a) for a in fix.actions],
        "rehearsal": dict(r.rehearsal),
        "watch": dict(r.watch),
        "address": r.address,
        "published_at": r.published_at,
        "undone_at": r.undone_at,
        "by": r.actor,
    }


@hotfix.command()
def status(workspace: Folder, serial: Serial, as_json: Json = False) -> None:
    """One hotfix: who signed, whether it is in force, and whether the metric came back.

    JSON: as `list`, and signed_by, in_force, recovery: {metric, before, after, baseline ([value, low, high]), requests, sentence} or null.
    """
    from diagnosis.reproduce import Workbench
    from diagnosis.resolve import ledger
    from diagnosis.resolve.keys import signers
    from diagnosis.resolve.recovery import recovery

    bench, now = Workbench.open(workspace), datetime.now(UTC)
    made, trust = ledger.record(bench.state, bench.workspace.id, serial), _known()
    who = trust.names(signers(made.prepared, trust)) if trust else []
    seen = recovery(bench, made)
    if as_json:
        told = {"signed_by": who, "in_force": made.in_force(now), "recovery": seen.as_json() if seen else None}
        document({**_record(made, now), **told})
        return
    _told(made.prepared)
    must = f"{trust.threshold} must" if trust else "nobody is trusted here: no file of trusted keys is named"
    print(f"Status: {made.state_at(now)}; signed by {plain(', '.join(who) or 'nobody yet')} ({must}).")
    if seen is not None:
        print(plain(seen.sentence))
