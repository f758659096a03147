"""Commands that write into a workspace: import, contract infer."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from diagnosis.cli.output import Folder, Json, document, lines, plain

IMPORTERS = "diagnosis.importers"
contract = typer.Typer(help="Feature contracts: draft one from training data.", no_args_is_help=True)


def import_(
    workspace: Folder,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="A kind of log (plain, kserve, sagemaker, databricks, feast), or an installed importer, e.g. movielens."
        ),
    ],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="File or folder to read.")],
    mapping: Annotated[
        Path | None, typer.Option(help="What the columns of a log mean; imports/KIND.toml in the workspace when not given.")
    ] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Write a first mapping from the data, and stop.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Read files that were taken, too: after a correction of the mapping.")] = False,
    movies: Annotated[Path | None, typer.Option(help="movielens: metadata of the movies (movies.json).")] = None,
    as_json: Json = False,
) -> None:
    """Import somebody else's log: new files of a kind of log, by a mapping; or a public data set as a workspace of its own.

    JSON of an importer: workspace, kind, requests, notes. Of a kind of log besides these: files, candidates, outcomes, joined {how: outcomes},
    waiting (events), outcomes_waiting, completed (requests that got candidates which came later), aside {reason: count}, approximate
    (requests whose time is), absent {column: path}, renamed {column: why}; with --draft: workspace, kind, mapping (file), toml.
    """
    from diagnosis.cli import foreign
    from diagnosis.errors import NotFoundError, WorkspaceError
    from diagnosis.log.foreign import kinds

    if kind in kinds.names():
        foreign.import_log(workspace, kinds.kind(kind), source, mapping, draft=draft, again=again, as_json=as_json)
        return
    points = {p.name: p for p in entry_points(group=IMPORTERS)}
    if kind not in points:
        raise NotFoundError("importer", kind, points, f"there are {', '.join([*kinds.names(), *sorted(points)])}.")
    if mapping is not None or draft or again:
        raise ValueError(f"{kind} is no kind of log, and has no mapping.")
    if not source.exists():
        raise WorkspaceError(f"There is no {str(source)!r}.", "give the folder that holds the raw files.")
    options = {"movies": movies} if movies is not None else {}
    requests, notes = points[kind].load()(workspace, source, **options)
    if as_json:
        document({"workspace": str(workspace), "kind": kind, "requests": requests, "notes": list(notes)})
    else:
        print(f"Imported {requests} requests into {workspace}.")
        for note in notes:
            print(f"  {plain(note)}")


@contract.command()
def infer(
    workspace: Folder,
    model_version: Annotated[str | None, typer.Option(help="From the training rows of this version; the newest when not given.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write contracts/features.toml if there is none.")] = False,
    as_json: Json = False,
) -> None:
    """Draft feature contracts from training data. JSON: model, model_version, features, toml."""
    from diagnosis.errors import CannotSayError, ContractError
    from diagnosis.inputs import infer_contracts, write_contracts
    from diagnosis.models import read_training
    from diagnosis.reproduce import Workbench

    workbench = Workbench.open(workspace)
    bundles = [workbench.bundle(None, model_version)] if model_version else workbench.bundles[-1:]
    training = read_training(bundles[0]) if bundles else None
    if training is None:
        raise CannotSayError("There are no training rows to draft a contract from.", "add a bundle with --training.")
    drafts = infer_contracts(bundles[0], training)
    text = write_contracts(drafts)
    file = workbench.workspace.contracts_file
    if write:
        if file.exists():
            raise ContractError(f"{file} is there already.", "compare it with the draft that is printed without --write.")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    if as_json:
        document({"model": bundles[0].name, "model_version": bundles[0].version, "features": len(drafts), "toml": text})
    else:
        print(f"Wrote {len(drafts)} contracts to {file}." if write else lines(text))
