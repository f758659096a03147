"""People with keys, for tests: a file of trusted keys, and documents that they signed."""

from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from diagnosis.resolve.actions import parse_action
from diagnosis.resolve.document import prepare
from diagnosis.resolve.keys import public, signed, trusted

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
KEYS = {name: Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n, name in enumerate(("anna", "bo", "mallory"), start=1)}
PUBLIC = {name: public(key) for name, key in KEYS.items()}


def trust_file(folder, threshold=2, names=("anna", "bo"), publish_to=""):
    """The file of trusted keys, only its owner can write it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / "trusted.toml"
    lines = [f"threshold = {threshold}", *([f'publish_to = "{publish_to}"'] if publish_to else []), "[keys]"]
    file.write_text("\n".join([*lines, *(f'{name} = "{PUBLIC[name]}"' for name in names)]) + "\n")
    file.chmod(0o600)
    return file


def trust(folder, **values):
    return trusted(trust_file(folder, **values))


def made(*texts, now=AT, hours=4, max_share=1.0, workspace="shop", environment="eu", by=("anna", "bo"), **values):
    """A prepared hotfix with signatures."""
    actions = tuple(parse_action(text, before=now) for text in texts or ("set_feature:price=0.5?device=tv",))
    found = prepare(workspace, environment, actions, reason="prices are wrong", hours=hours, max_share=max_share, now=now, **values)
    for name in by:
        found = signed(found, KEYS[name])
    return found
