"""Who may sign: keys that people hold, and the file of trusted ones, which lies outside of workspaces and of the app."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from diagnosis.errors import HotfixError
from diagnosis.resolve.document import BOTH, Prepared, Which
from diagnosis.resolve.seal import DOMAIN, canonical
from diagnosis.store.settings import FILE

TRUSTED = "DIAGNOSIS_TRUSTED_KEYS"
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Trust:
    """Who is trusted, and how many of them must sign.

    Attributes
    ----------
    threshold : int
        Different keys that must sign.
    keys : mapping of name to public key
        Hexadecimal.
    publish_to : str
        Where documents go: a folder, ``s3://…``, ``gs://…``, ``https://…``; empty if the file does not say.
    """

    file: Path
    threshold: int
    keys: Mapping[str, str]
    publish_to: str = ""

    @property
    def one_person(self) -> bool:
        """Whether one signature is enough."""
        return self.threshold == 1

    @property
    def warning(self) -> str:
        """What must be said loudly; empty with two or more signatures."""
        return "One-person mode: one signature is enough to change what is served. Nobody else has to look." if self.one_person else ""

    def names(self, keys: Collection[str]) -> list[str]:
        """Names of the trusted among some public keys."""
        return sorted(name for name, key in self.keys.items() if key in set(keys))


def trusted(file: Path | None = None) -> Trust:
    """The file of trusted keys, ``DIAGNOSIS_TRUSTED_KEYS`` when not given.

    Raises
    ------
    HotfixError
        If there is none, it lies where those who publish or run the workbench could write, or says what cannot be.
    """
    named = str(file) if file is not None else os.environ.get(TRUSTED, "")
    if not named:
        raise HotfixError("No file of trusted keys is named.", f"set {TRUSTED} to a file outside of every workspace.")
    place = Path(named).expanduser().resolve()
    _outside(place, "The file of trusted keys")
    try:
        _unwritable(place)
        raw = tomllib.loads(place.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise HotfixError(f"The file of trusted keys cannot be read: {error}.") from None
    strange = sorted(set(raw) - {"threshold", "keys", "publish_to"})
    if strange:
        raise HotfixError(f"{place.name}: {strange[0]!r} is not known.", "there are threshold, publish_to and [keys].")
    keys, threshold = raw.get("keys"), raw.get("threshold", 2)
    if not isinstance(keys, dict) or not all(isinstance(k, str) and _is_key(k) for k in keys.values()):
        raise HotfixError(f"{place.name}: [keys] holds no public keys.", '`diagnosis hotfix keygen` prints a line `name = "…"`.')
    if len(set(keys.values())) < len(keys):
        raise HotfixError(f"{place.name}: two names have the same key.", "every person has a key of their own.")
    if not isinstance(threshold, int) or isinstance(threshold, bool) or not 1 <= threshold <= len(keys):
        raise HotfixError(f"{place.name}: threshold = {threshold!r} of {len(keys)} keys cannot be.", "write 2, or name more keys.")
    return Trust(place, threshold, dict(keys), str(raw.get("publish_to", "")))


def _is_key(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _outside(place: Path, what: str) -> None:
    """Refuse what lies in a workspace or in the program's own folder."""
    program = Path(__file__).resolve().parents[2]
    for folder in place.parents:
        if (folder / FILE).exists():
            raise HotfixError(f"{what} lies in the workspace {folder.name!r}.", "keep it outside of every workspace.")
        if folder in (program / "app", program / "diagnosis"):
            raise HotfixError(f"{what} lies in the program's own folder.", "keep it outside of it.")


def _unwritable(place: Path) -> None:
    """Refuse what somebody else could write, or replace."""
    mine = (0, os.geteuid())
    for part in (place, place.parent):
        held = part.stat()
        loose = held.st_mode & _OTHERS and not (part is not place and held.st_mode & stat.S_ISVTX)
        if loose or held.st_uid not in mine:
            raise HotfixError(f"Others can write {part.name!r}, so what it says of trusted keys is worth nothing.", f"chmod go-w {part}")


def new_key(file: Path) -> str:
    """Make a private key in a new file that only its owner can read; gives the public key, hexadecimal.

    Raises
    ------
    HotfixError
        If the file is there already, or would lie in a workspace.
    """
    place = file.expanduser().resolve()
    _outside(place, "A private key")
    key = Ed25519PrivateKey.generate()
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    try:
        handle = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        raise HotfixError(f"The key cannot be written: {error}.", "name a file that is not there yet.") from None
    with os.fdopen(handle, "wb") as out:
        out.write(key.private_bytes(*kinds))
    return public(key)


def private_key(file: Path) -> Ed25519PrivateKey:
    """The private key that a person holds.

    Raises
    ------
    HotfixError
        If others can read the file, it lies in a workspace, or it is no Ed25519 key.
    """
    place = file.expanduser().resolve()
    _outside(place, "This private key")
    try:
        if place.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise HotfixError(
                "Others can read this private key, so it is nobody's signature.", f"make a new one; keep it at chmod 600 {file}"
            )
        key = serialization.load_pem_private_key(place.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise HotfixError(f"The private key cannot be read: {error}.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise HotfixError("This is no Ed25519 key.", "`diagnosis hotfix keygen` makes one.")
    return key


def public(key: Ed25519PrivateKey) -> str:
    """The public key, hexadecimal."""
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


def signed(prepared: Prepared, key: Ed25519PrivateKey) -> Prepared:
    """With the signatures of a key on the fix and on its undo."""
    mine, name = dict(prepared.signatures), public(key)
    for which in BOTH:
        seal = key.sign(DOMAIN + canonical(prepared.part(which).as_json())).hex()
        mine[which] = {**prepared.signatures[which], name: seal}
    return replace(prepared, signatures=mine)


def signers(prepared: Prepared, trust: Trust, which: Which = "fix") -> list[str]:
    """Trusted public keys whose signature is good."""
    message, good = DOMAIN + canonical(prepared.part(which).as_json()), []
    for key, seal in prepared.signatures[which].items():
        try:
            if key in trust.keys.values():
                Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(seal), message)
                good.append(key)
        except (InvalidSignature, ValueError):
            continue
    return sorted(good)
