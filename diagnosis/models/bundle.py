"""A model bundle on disk: ``models/<name>/<version>/`` with ``model.toml``, the artifact and a sample of training rows."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

from diagnosis.errors import BundleError
from diagnosis.models.stages import Stage, parse_stages

MANIFEST, TRAINING = "model.toml", "training.parquet"
DTYPES = ("double", "float", "long", "bool", "category")
KINDS = ("lightgbm", "sklearn", "onnx", "composite")
_TEXTS = ("objective", "link", "scope", "label", "trained_at", "trained_from", "trained_until", "code_version", "parent")


@dataclass(frozen=True)
class Feature:
    """One input of a model.

    Attributes
    ----------
    name : str
        As the model knows it.
    source : str
        ``candidates.column`` or ``requests.column``; the TOML key is ``from``.
    dtype : str
        What the model was given: ``double``, ``float`` (32 bits), ``long``, ``bool``, ``category``.
    categories : tuple of str
        For a category: its values in code order, code 0 first.
    """

    name: str
    source: str
    dtype: str = "double"
    categories: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """``candidates`` or ``requests``."""
        return self.source.partition(".")[0]

    @property
    def column(self) -> str:
        """Column of that table."""
        return self.source.partition(".")[2]


@dataclass(frozen=True)
class Bundle:
    """The manifest of a model, and where it lies.

    Attributes
    ----------
    folder : Path
    kind : str
        ``lightgbm``, ``sklearn``, ``onnx`` or ``composite``.
    artifact, sha256 : str
        File name beside the manifest, and its digest.
    link : str
        How a raw score becomes a probability: ``sigmoid`` or empty.
    scope : str
        ``row``, or ``list`` when a candidate's score depends on the others.
    features : tuple of Feature
        In the model's order.
    stages : tuple of Stage
        Of a composite, in the order they score.
    trained_at, trained_from, trained_until : str
        ISO times, or empty.
    """

    folder: Path
    name: str
    version: str
    kind: str
    artifact: str
    sha256: str = ""
    objective: str = ""
    link: str = ""
    scope: str = "row"
    features: tuple[Feature, ...] = ()
    preprocessing: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, int] = field(default_factory=dict)
    label: str = ""
    trained_at: str = ""
    trained_from: str = ""
    trained_until: str = ""
    code_version: str = ""
    parent: str = ""
    library_versions: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()

    @property
    def names(self) -> list[str]:
        """Feature names in the model's order."""
        return [f.name for f in self.features]

    def feature(self, name: str) -> Feature | None:
        """The feature of that name, if there is one."""
        return next((f for f in self.features if f.name == name), None)

    def label_of(self, columns: Sequence[str]) -> str:
        """The column of training rows that holds the label: the one that `label` names where it is among `columns`, else ``label``."""
        return self.label if self.label in columns else "label"


@dataclass(frozen=True)
class BrokenBundle:
    """A folder that should hold a bundle, and why it does not."""

    folder: Path
    problem: str


def read_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`; its artifact is not touched.

    Raises
    ------
    BundleError
        If the manifest is missing or wrong; names file, key and fix.
    """
    try:
        return parse_manifest((folder / MANIFEST).read_bytes(), folder)
    except OSError:
        raise BundleError(f"{folder} has no {MANIFEST}.", "write one, or use `diagnosis models add`.") from None


def parse_manifest(data: bytes, folder: Path) -> Bundle:
    """A manifest from its bytes.

    Raises
    ------
    BundleError
    """
    place = f"{folder.parent.name}/{folder.name}/{MANIFEST}"
    try:
        raw = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{place} is not TOML: {error}.", "check the line it names.") from None
    for key in ("name", "version", "kind", "artifact", "features"):
        if not raw.get(key):
            raise BundleError(f"{place}: {key} is missing.", f"add {key}; FORMATS.md shows a whole manifest.")
    kind = str(raw["kind"])
    if kind not in KINDS:
        raise BundleError(f"{place}: kind {kind!r} is unknown.", f"supported: {', '.join(KINDS)}.")
    artifact = str(raw["artifact"])
    if Path(artifact).name != artifact:
        raise BundleError(f"{place}: artifact {artifact!r} must be a file name beside the manifest.", "move the file there.")
    if artifact.endswith((".pkl", ".pickle", ".joblib")):
        raise BundleError(f"{place}: {artifact} is a pickle, which can run any code.", "save LightGBM as text, scikit-learn with skops.")
    features = tuple(_feature(place, number, entry) for number, entry in enumerate(raw["features"]))
    sources = {f.name: f.source for f in features}
    return Bundle(
        folder=folder,
        name=str(raw["name"]),
        version=str(raw["version"]),
        kind=kind,
        artifact=artifact,
        sha256=str(raw.get("sha256", "")),
        features=features,
        stages=parse_stages(place, raw.get("stages", ()), sources, artifact) if kind == "composite" else (),
        preprocessing={str(k): str(v) for k, v in raw.get("preprocessing", {}).items()},
        outputs={str(k): int(v) for k, v in raw.get("outputs", {}).items()},
        library_versions={str(k): str(v) for k, v in raw.get("library_versions", {}).items()},
        **{key: str(raw[key]) for key in _TEXTS if key in raw} | ({"scope": "list"} if kind == "composite" else {}),
    )


def _feature(place: str, number: int, entry: Any) -> Feature:
    name = str(entry.get("name", ""))
    where = f"{place}: features[{number}]"
    if not name:
        raise BundleError(f"{where} has no name.", 'add name = "…".')
    source = str(entry.get("from", f"candidates.{name}"))
    table, _, column = source.partition(".")
    if table not in ("candidates", "requests") or not column:
        raise BundleError(f"{where} ({name}): from {source!r} names no log column.", 'write from = "candidates.x" or "requests.x".')
    dtype = str(entry.get("dtype", "double"))
    if dtype not in DTYPES:
        raise BundleError(f"{where} ({name}): dtype {dtype!r} is unknown.", f"one of {', '.join(DTYPES)}.")
    categories = tuple(str(c) for c in entry.get("categories", ()))
    if (dtype == "category") != bool(categories):
        raise BundleError(f"{where} ({name}): categories belong to dtype category, in code order.", "list them, or change the dtype.")
    return Feature(name, source, dtype, categories)


def write_bundle(
    models_dir: Path, bundle: Bundle, artifact: bytes, training: pa.Table | None = None, earlier: Mapping[str, bytes] | None = None
) -> Bundle:
    """Write a bundle to ``models_dir/<name>/<version>/`` and give it back with folder and digest filled in.

    Parameters
    ----------
    earlier : mapping of str to bytes, optional
        Of a composite, the artifacts of the stages before the last, by file name.

    Raises
    ------
    BundleError
        If that version is there already, or the manifest would not read back.
    """
    for part in (bundle.name, bundle.version):
        if not part or part in (".", "..") or Path(part).name != part:
            raise BundleError(f"{part!r} cannot name a model or version.", "use letters, digits, dots and dashes.")
    folder = models_dir / bundle.name / bundle.version
    if (folder / MANIFEST).exists():
        raise BundleError(f"Model {bundle.name!r} version {bundle.version!r} is there already.", "give it another version.")
    files = {**(earlier or {}), bundle.artifact: artifact}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    stages = tuple(replace(s, sha256=digests.get(s.artifact, s.sha256)) for s in bundle.stages)
    made = replace(bundle, folder=folder, sha256=digests[bundle.artifact], stages=stages, scope="list" if stages else bundle.scope)
    data = tomli_w.dumps(_manifest(made)).encode()
    parse_manifest(data, folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if training is not None:
        pq.write_table(training, folder / TRAINING, compression="zstd")
    (folder / MANIFEST).write_bytes(data)
    return made


def _manifest(bundle: Bundle) -> dict[str, Any]:
    raw: dict[str, Any] = {"name": bundle.name, "version": bundle.version, "kind": bundle.kind}
    raw |= {"artifact": bundle.artifact, "sha256": bundle.sha256}
    raw |= {key: getattr(bundle, key) for key in _TEXTS if getattr(bundle, key)}
    raw["features"] = [
        {"name": f.name, "from": f.source, "dtype": f.dtype} | ({"categories": list(f.categories)} if f.categories else {})
        for f in bundle.features
    ]
    if bundle.stages:
        raw["stages"] = [stage.as_toml() for stage in bundle.stages]
    for key in ("preprocessing", "outputs", "library_versions"):
        if getattr(bundle, key):
            raw[key] = dict(getattr(bundle, key))
    return raw


def list_bundles(models_dir: Path) -> list[Bundle | BrokenBundle]:
    """Every bundle below `models_dir`, by name and version; a broken one does not hide the others."""
    found: list[Bundle | BrokenBundle] = []
    for folder in sorted(p for p in models_dir.glob("*/*") if p.is_dir()):
        try:
            found.append(read_bundle(folder))
        except BundleError as error:
            found.append(BrokenBundle(folder, error.message))
    return found


def read_training(bundle: Bundle, columns: list[str] | None = None) -> pa.Table | None:
    """The sample of training rows; None if the bundle has none.

    Raises
    ------
    BundleError
        If the file cannot be read.
    """
    file = bundle.folder / TRAINING
    if not file.exists():
        return None
    try:
        return pq.read_table(file, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise BundleError(f"{TRAINING} of {bundle.name} {bundle.version} cannot be read: {error}.", "write it anew.") from None
