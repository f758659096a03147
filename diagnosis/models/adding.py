"""A bundle from a model file: with a manifest given, or one drafted from the model itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version as installed
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diagnosis.errors import BundleError
from diagnosis.models.admission import admit
from diagnosis.models.bundle import Bundle, Feature, parse_manifest, write_bundle


def add_bundle(
    models_dir: Path,
    artifact: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    training: Path | None = None,
    manifest: Path | None = None,
    columns: Mapping[str, Sequence[str]] | None = None,
) -> Bundle:
    """Write a bundle from a model file; nothing is left behind when it cannot be admitted.

    Parameters
    ----------
    name, version : str, optional
        As the log names it; without them those of the manifest.
    manifest : Path, optional
        A ``model.toml``; its artifact and digests are replaced. Of a composite, `artifact` is that of the last stage, and
        those of the others lie beside the manifest. Without a manifest a LightGBM text model's own feature names are used, and categories
        as LightGBM kept them from the pandas frame it was trained on.
    columns : mapping, optional
        Columns of the log tables: a drafted feature comes from `candidates` if it has it, else from `requests`.

    Raises
    ------
    BundleError
    """
    try:
        data = artifact.read_bytes()
        rows = pq.read_table(training) if training else None
    except (OSError, pa.ArrowException) as error:
        raise BundleError(f"A file cannot be read: {error}.", "check the path.") from None
    if manifest is not None:
        try:
            drafted = parse_manifest(_completed(manifest.read_text(encoding="utf-8"), name, version, artifact.name), manifest.parent)
            name, version = drafted.name, drafted.version
            earlier = {s.artifact: (manifest.parent / s.artifact).read_bytes() for s in drafted.stages if s.artifact != artifact.name}
        except OSError as error:
            raise BundleError(f"{error.filename} cannot be read: {error.strerror}.", "check the path.") from None
    else:
        drafted, earlier = _drafted(data, artifact.name, columns or {}), {}
    if not name or not version:
        raise BundleError(
            "A model needs a name and a version, as the log names it.", "give --name and --version, or a manifest that has them."
        )
    folder = models_dir / name / version
    there = folder.exists()
    bundle = write_bundle(models_dir, replace(drafted, name=name, version=version, artifact=artifact.name), data, rows, earlier)
    try:
        admit(bundle)
    except BundleError:
        if not there:
            shutil.rmtree(folder)
        raise
    return bundle


def _completed(text: str, name: str | None, version: str | None, artifact: str) -> bytes:
    import tomllib

    import tomli_w

    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BundleError(f"The manifest is not TOML: {error}.", "check the line it names.") from None
    for stage in (s for s in raw.get("stages", ()) if isinstance(s, dict)):
        stage.setdefault("sha256", "-")  # taken when it is written
    given = {key: value for key, value in (("name", name), ("version", version)) if value is not None}
    return tomli_w.dumps({**raw, **given, "artifact": artifact}).encode()


def _drafted(data: bytes, artifact: str, columns: Mapping[str, Sequence[str]]) -> Bundle:
    """What a LightGBM text model says about itself."""
    lines = data[:200_000].decode("utf-8", errors="replace").splitlines()
    if not lines or lines[0] != "tree":
        raise BundleError(f"{artifact} is no LightGBM text model, so its features are not known.", "give a manifest with --manifest.")
    header = dict(line.split("=", 1) for line in lines[:40] if "=" in line)
    names = header.get("feature_names", "").split()
    infos = header.get("feature_infos", "").split()
    tail = data[-200_000:].decode("utf-8", errors="replace")
    kept = next(
        (line.removeprefix("pandas_categorical:") for line in reversed(tail.splitlines()) if line.startswith("pandas_categorical:")), "null"
    )
    categories = json.loads(kept) or []
    categorical = [n for n, info in zip(names, infos, strict=False) if info and not info.startswith("[") and info != "none"]
    if categorical and len(categories) != len(categorical):
        raise BundleError(
            f"{artifact} has categorical features ({', '.join(categorical)}) whose categories it does not hold.",
            "give a manifest with --manifest that lists them in code order.",
        )
    held = dict(zip(categorical, categories, strict=True)) if categorical else {}
    on_request = set(columns.get("requests", ())) - set(columns.get("candidates", ()))
    features = tuple(
        Feature(
            n,
            f"{'requests' if n in on_request else 'candidates'}.{n}",
            "category" if n in held else "double",
            tuple(str(c) for c in held.get(n, ())),
        )
        for n in names
    )
    objective = header.get("objective", "").split(" ")[0]
    link = "sigmoid" if objective == "binary" else ""
    library = {"lightgbm": installed("lightgbm")}
    return Bundle(Path(), "", "", "lightgbm", artifact, objective=objective, link=link, features=features, library_versions=library)
