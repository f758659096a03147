"""`diagnosis models`: add, admit, list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from diagnosis.cli.output import Folder, Json, document, table

app = typer.Typer(help="Model bundles: add, admit, list.", no_args_is_help=True)


@app.command("list")
def list_(workspace: Folder, as_json: Json = False) -> None:
    """Bundles of a workspace. JSON: models: [{name, version, kind, features, admitted_at, admitted_by, problem}]."""
    from diagnosis.models import BrokenBundle
    from diagnosis.reproduce import Workbench

    workbench = Workbench.open(workspace)
    kept = workbench.state.admissions(workbench.workspace.id)
    rows: list[dict[str, Any]] = []
    for bundle in workbench.listed:
        if isinstance(bundle, BrokenBundle):
            rows.append({"name": bundle.folder.parent.name, "version": bundle.folder.name, "kind": None, "features": None})
            rows[-1] |= {"admitted_at": None, "admitted_by": None, "problem": bundle.problem}
            continue
        record = kept.get((bundle.name, bundle.version), {})
        rows.append({"name": bundle.name, "version": bundle.version, "kind": bundle.kind, "features": len(bundle.features)})
        rows[-1] |= {"admitted_at": record.get("admitted_at"), "admitted_by": record.get("actor"), "problem": None}
    if as_json:
        document({"models": rows})
    else:
        table([tuple(row.values()) for row in rows], ("name", "version", "kind", "features", "admitted at", "by", "problem"))


@app.command()
def admit(
    workspace: Folder,
    name: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    version: Annotated[str | None, typer.Option(help="Only this version.")] = None,
    as_json: Json = False,
) -> None:
    """Admit bundles that lie in the workspace: load and score them once in a child process, and keep their digests.

    JSON: admitted: [{name, version, artifact_sha256, golden_rows}].
    """
    from diagnosis.reproduce import Workbench

    made = Workbench.open(workspace).admit(name, version)
    rows = [{"name": a.name, "version": a.version, "artifact_sha256": a.artifact_sha256, "golden_rows": a.golden_rows} for a in made]
    if as_json:
        document({"admitted": rows})
    else:
        table([tuple(row.values()) for row in rows], ("name", "version", "sha256", "golden rows"))


@app.command()
def add(
    workspace: Folder,
    artifact: Annotated[Path, typer.Argument(help="LightGBM text model, or scikit-learn model saved with skops.")],
    name: Annotated[str, typer.Option(help="Name of the model.")],
    version: Annotated[str, typer.Option(help="Its version, as the log names it.")],
    training: Annotated[Path | None, typer.Option(help="Parquet sample of training rows.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="model.toml with features; drafted from the model when not given.")] = None,
    as_json: Json = False,
) -> None:
    """Add a model to the workspace and admit it. JSON: name, version, folder, features, artifact_sha256."""
    from diagnosis.models.adding import add_bundle
    from diagnosis.reproduce import Workbench

    workbench = Workbench.open(workspace)
    columns: dict[str, list[str]] = {
        t: list(workbench.snapshot.columns(t)) for t in ("candidates", "requests") if t in workbench.snapshot.tables()
    }
    bundle = add_bundle(
        workbench.workspace.models_dir,
        artifact,
        name=name,
        version=version,
        training=training,
        manifest=manifest,
        columns=columns,
    )
    made = Workbench.open(workspace).admit(name, version)[0]
    answer = {"name": name, "version": version, "folder": str(bundle.folder), "features": len(bundle.features)}
    answer["artifact_sha256"] = made.artifact_sha256
    if as_json:
        document(answer)
    else:
        print(f"Added and admitted {name} {version} with {len(bundle.features)} features.")
