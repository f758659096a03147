"""`diagnosis models`: add, admit, list, compare, bisect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from diagnosis.cli.output import Folder, Json, document, plain, table

app = typer.Typer(help="Model bundles: add, admit, list, compare, bisect.", no_args_is_help=True)


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
    artifact: Annotated[
        Path,
        typer.Argument(
            help="LightGBM text model, scikit-learn model saved with skops, ONNX network; of a composite that of the last stage."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the model; the manifest's when not given.")] = None,
    version: Annotated[str | None, typer.Option(help="Its version, as the log names it; the manifest's when not given.")] = None,
    training: Annotated[Path | None, typer.Option(help="Parquet sample of training rows.")] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="model.toml with features; drafted from a LightGBM model when not given. Artifacts of a composite's other stages lie beside it."
        ),
    ] = None,
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
    made = Workbench.open(workspace).admit(bundle.name, bundle.version)[0]
    answer = {"name": bundle.name, "version": bundle.version, "folder": str(bundle.folder), "features": len(bundle.features)}
    answer["artifact_sha256"] = made.artifact_sha256
    if as_json:
        document(answer)
    else:
        print(f"Added and admitted {bundle.name} {bundle.version} with {len(bundle.features)} features.")


@app.command()
def compare(
    workspace: Folder,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.")],
    before: Annotated[str, typer.Argument(metavar="V1", help="The earlier version.")],
    after: Annotated[str, typer.Argument(metavar="V2", help="The later version.")],
    where: Annotated[str, typer.Option(help="Which logged requests: attribute=value,value;attribute>=number")] = "",
    requests: Annotated[int, typer.Option(min=1, max=20000, help="Logged requests that both versions score.")] = 1000,
    as_json: Json = False,
) -> None:
    """Two versions side by side: manifests, training rows, leaks, skew, the same requests, outcomes by task.

    JSON: before, after, sentences: {manifests, rows, leaks, labels, skew, same, tasks} (what is known of each part, or why nothing is), facts:
    [{fact, before, after, changed}], features: [{feature, state (same|added|gone|changed), text, gain_before, gain_after}], training: {slices:
    [{attribute, value, rows_before, rows_after, share_before, share_after, share_q, label_before, label_after, label_expected, label_q, moved,
    text}], missing: [{feature, before, after, q, moved}]}, leaks: [{feature, area, se, other, gain, z, odd, text}], labels: [as slices, the log
    before], skew: [{feature, rows, equal, low, high, missing_training, missing_log, ratio, text}], differences: [{feature, request_id, item_id,
    training, log}], same_requests: {requests, score, top, page, moved: {value, low, high}, base, residual, scores: [{quantile, before, after}],
    contributions: [{feature, before, after, shift, low, high, order_before, order_after}]}, tasks: [{task, verdict (helps|harms|no difference
    seen|not enough data|favoured by its own pages), before, after, change, low, high, pages, served_before, served_after}]. Parts that cannot be
    told are left out.
    """
    from diagnosis.internals import compare_versions
    from diagnosis.log import parse_filter
    from diagnosis.reproduce import Workbench
    from diagnosis.store import Query

    query = Query(where=parse_filter(where), status="ok")
    found = compare_versions(Workbench.open(workspace), name, before, after, query=query, requests=requests)
    if as_json:
        document(found.as_json())
        return
    changed = found.manifests.features[["state", "gain_before", "gain_after", "text"]].reset_index()
    table(changed.itertuples(index=False), ("feature", "", f"gain in {before}", f"gain in {after}", "what changed"))
    for title, part, names in (
        (
            "Training rows",
            found.rows.slices[found.rows.slices["moved"] != ""] if found.rows else None,
            ["attribute", "value", "label_before", "label_after", "label_expected", "share_before", "share_after"],
        ),
        ("By outcomes", found.tasks.rows.reset_index() if found.tasks else None, ["task", "verdict", "change", "low", "high", "pages"]),
    ):
        if part is not None and len(part):
            print(f"\n{title}")
            table(part[names].head(15).itertuples(index=False), [n.replace("_", " ") for n in names])
    print()
    for what, sentence in found.sentences.items():
        print(f"{_PARTS[what]}: {plain(sentence)}")


_PARTS = {"manifests": "Manifests", "rows": "Training rows", "leaks": "Leaks", "labels": "Labels against the log"}
_PARTS |= {"skew": "Training against the log", "same": "The same requests", "tasks": "By outcomes"}


@app.command()
def bisect(
    workspace: Folder,
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="Request id.")],
    item: Annotated[str, typer.Option(help="Candidate that dropped.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; the one that the log names when not given.")] = None,
    places: Annotated[int | None, typer.Option(min=1, help="Places that count; the page's when not given.")] = None,
    as_json: Json = False,
) -> None:
    """One logged request through every version of its model: where an item dropped first, and which features carry it.

    JSON: request_id, item, places, sentence, dropped_at, before (null where it never fell), left (whether it left those places), residual,
    versions: [{version, trained_until, score, ahead, rank, why}], carried: [{feature, before, after, change, value}].
    """
    from diagnosis.internals import bisect as ask
    from diagnosis.internals.versions import records
    from diagnosis.reproduce import Workbench

    workbench = Workbench.open(workspace)
    found = ask(workbench, workbench.request(request), item, name=name, places=places)
    if as_json:
        answer: dict[str, Any] = {"request_id": request, "item": item, "places": found.places, "sentence": found.sentence}
        answer |= {"dropped_at": found.dropped_at or None, "before": found.before or None, "left": found.left, "residual": found.residual}
        document({**answer, "versions": records(found.rows), "carried": records(found.carried)})
        return
    table(
        found.rows.reset_index().itertuples(index=False), ("version", "trained until", "score", "ahead of the mean", "rank", "not scored")
    )
    if len(found.carried):
        print()
        names = ["before", "after", "change", "value"]
        table(
            found.carried[names].head(12).reset_index().itertuples(index=False),
            ("feature", found.before, found.dropped_at, "change", "value"),
        )
    print(plain(found.sentence))
