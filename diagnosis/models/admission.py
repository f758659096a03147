"""Admission: somebody on this machine looked at a bundle, and it loaded and scored in a child process with limits.

Text models can crash or hang the process that loads them. So the first load happens in a child with time and memory limits, and later
loads use the very bytes whose digest was taken then.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from diagnosis.errors import BundleError, ChangedArtifactError, NotAdmittedError
from diagnosis.models.bundle import MANIFEST, Bundle


@dataclass(frozen=True)
class Admission:
    """That a bundle was admitted: its digests (SHA-256, hexadecimal) and the digest of its scores on golden rows."""

    name: str
    version: str
    manifest_sha256: str
    artifact_sha256: str
    preprocessing_sha256: str | None
    golden_sha256: str
    golden_rows: int
    admitted_at: str

    def as_record(self) -> dict[str, Any]:
        """As plain values, for the state database."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Admission:
        """From what `as_record` gave."""
        return cls(**{key: record[key] for key in cls.__dataclass_fields__})


def admit(bundle: Bundle, *, timeout_s: float = 60.0, memory_mb: int = 4096) -> Admission:
    """Check a bundle, load it and score golden rows (its first training rows, else made-up ones) in a child process.

    Parameters
    ----------
    timeout_s : float
        Wall time and processor time that the child may use, in seconds.
    memory_mb : int
        Address space that the child may use, in MB.

    Raises
    ------
    BundleError
        If the digest in the manifest is not the artifact's, the structure is wrong, or the child crashed, hung or hit a limit.
    """
    manifest, artifact = read_checked(bundle)
    digest = hashlib.sha256(artifact).hexdigest()
    if bundle.sha256 != digest:
        raise BundleError(
            f"{bundle.artifact} of {bundle.name} {bundle.version} is not the file that {MANIFEST} describes.",
            f"restore it, or set sha256 = {digest!r} if the change is meant.",
        )
    golden = _score_in_child(bundle, timeout_s, memory_mb)
    return Admission(
        name=bundle.name,
        version=bundle.version,
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        artifact_sha256=digest,
        preprocessing_sha256=None,
        golden_sha256=golden["sha256"],
        golden_rows=golden["rows"],
        admitted_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def read_checked(bundle: Bundle) -> tuple[bytes, bytes]:
    """Bytes of manifest and artifact; a pickle, or a bundle that needs what is not supported, is refused.

    Raises
    ------
    BundleError
    """
    if bundle.preprocessing:
        raise BundleError(
            f"Model {bundle.name} {bundle.version} has a preprocessing artifact, which is not supported yet.",
            "put the preprocessing into a scikit-learn pipeline.",
        )
    if bundle.outputs:
        raise BundleError(
            f"Model {bundle.name} {bundle.version} has several outputs, which is not supported yet.", "add one bundle a head."
        )
    try:
        manifest, artifact = (bundle.folder / MANIFEST).read_bytes(), (bundle.folder / bundle.artifact).read_bytes()
    except OSError as error:
        raise BundleError(f"Model {bundle.name} {bundle.version}: {error.strerror}: {error.filename}.", "restore the file.") from None
    if artifact[:1] == b"\x80" or artifact[:2] in (b"\x78\x9c", b"\x78\x01", b"\x78\xda"):
        raise BundleError(f"{bundle.artifact} is a pickle, which can run any code.", "save LightGBM as text, scikit-learn with skops.")
    return manifest, artifact


def check_digests(bundle: Bundle, admission: Admission | None) -> tuple[bytes, bytes]:
    """Bytes of manifest and artifact, as admitted.

    Raises
    ------
    NotAdmittedError, ChangedArtifactError, BundleError
    """
    if admission is None:
        raise NotAdmittedError(bundle.name, bundle.version)
    manifest, artifact = read_checked(bundle)
    for file, data, wanted in (
        (MANIFEST, manifest, admission.manifest_sha256),
        (bundle.artifact, artifact, admission.artifact_sha256),
    ):
        if hashlib.sha256(data).hexdigest() != wanted:
            raise ChangedArtifactError(bundle.name, bundle.version, file)
    for stage in bundle.stages:  # their digests stand in the manifest, which is as admitted
        path = bundle.folder / stage.artifact
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != stage.sha256:
            raise ChangedArtifactError(bundle.name, bundle.version, stage.artifact)
    return manifest, artifact


def _score_in_child(bundle: Bundle, timeout_s: float, memory_mb: int) -> dict[str, Any]:
    what = f"Model {bundle.name} {bundle.version}"
    order = json.dumps({"folder": str(bundle.folder.resolve()), "cpu_s": int(timeout_s) + 1, "memory_mb": memory_mb})
    try:
        child = subprocess.run(
            [sys.executable, "-m", "diagnosis.models.golden"], input=order, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise BundleError(
            f"{what} did not load and score within {timeout_s:g} s.", "the file may be damaged; take it from its source again."
        ) from None
    if child.returncode:
        last = child.stderr.strip().splitlines()[-1] if child.stderr.strip() else ""
        why = f"killed by signal {-child.returncode}" if child.returncode < 0 else last or f"exit status {child.returncode}"
        raise BundleError(
            f"{what} could not be loaded and scored: {why[:300]}", "take the artifact from its source again, and check the manifest."
        )
    answer: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    if "problem" in answer:
        raise BundleError(f"{what}: {answer['problem']}", answer.get("hint", ""))
    return answer
