"""Where documents are published: a folder, an object store, an HTTP endpoint."""

from __future__ import annotations

import contextlib
import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlsplit

from diagnosis.errors import HotfixError
from diagnosis.resolve.seal import LIMIT

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN = "DIAGNOSIS_PUBLISH_TOKEN"  # noqa: S105  # the name of a variable: what an HTTP endpoint is shown, as a bearer's
_STORES = ("s3", "gs", "gcs", "hdfs", "abfs", "abfss")
_WAIT_S = 10


def name_of(workspace: str, environment: str) -> str:
    """The file of a workspace's environment in a folder or an object store.

    >>> name_of("shop", "eu/1")
    'shop.eu%2F1.hotfix.json'
    """
    return f"{quote(workspace, safe='')}.{quote(environment, safe='')}.hotfix.json"


def address_of(place: str, workspace: str, environment: str) -> str:
    """Where the document of an environment is: what `write`, `read` and a client's `source` take.

    Parameters
    ----------
    place : str
        A folder, or an address of a folder in an object store; an HTTP address that ends in ``/`` is one too, another is taken as it is.

    Raises
    ------
    HotfixError
    """
    scheme, http = urlsplit(place).scheme if "://" in place else "", place.startswith(("http://", "https://"))
    if not place:
        raise HotfixError("Nobody says where hotfixes go.", "write publish_to into the file of trusted keys, or say --to.")
    if http and (scheme == "https" or urlsplit(place).hostname in LOOPBACK):
        return place + (name_of(workspace, environment) if place.endswith("/") else "")
    if scheme and (http or scheme not in _STORES):
        raise HotfixError(f"Hotfixes cannot go to {place!r}.", "name a folder, s3://…, gs://…, or https://…; http only on this machine.")
    return f"{place.rstrip('/')}/{name_of(workspace, environment)}"


def write(address: str, document: bytes) -> None:
    """Put a document in the place of the last; readers see the one or the other.

    Raises
    ------
    HotfixError
        If it did not arrive.
    """
    try:
        if address.startswith(("http://", "https://")):
            _put(address, document)
        elif "://" in address:
            from pyarrow import fs

            system, path = fs.FileSystem.from_uri(address)
            with system.open_output_stream(path) as out:
                out.write(document)
        else:
            _replace(Path(address).expanduser(), document)
        back = read(address)
    except FileNotFoundError:
        raise HotfixError(
            f"The document did not arrive at {address}: there is no such folder.", "make the folder, or correct `publish_to`."
        ) from None
    except (OSError, ValueError, ImportError) as error:  # urllib's errors are OSError, those of Arrow OSError or ValueError
        raise HotfixError(f"The document did not arrive at {address}: {error}.", "nothing was changed there; try again.") from None
    if back != document:
        raise HotfixError(f"What {address} gives is not what was written.", "look whether somebody else publishes there.")


def read(address: str) -> bytes | None:
    """The document that stands there; None if there is none.

    Raises
    ------
    OSError, ValueError
    """
    if address.startswith(("http://", "https://")):
        try:
            with urllib.request.urlopen(address, timeout=_WAIT_S) as answer:  # noqa: S310  # `address_of` looked at its scheme
                return bytes(answer.read(LIMIT + 1))
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                return None
            raise
    if "://" in address:
        from pyarrow import fs

        system, path = fs.FileSystem.from_uri(address)
        if system.get_file_info(path).type == fs.FileType.NotFound:
            return None
        with system.open_input_stream(path) as held:
            return bytes(held.read(LIMIT + 1))
    try:
        with Path(address).expanduser().open("rb") as file:
            return file.read(LIMIT + 1)
    except FileNotFoundError:
        return None


def _put(address: str, document: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    if os.environ.get(TOKEN):
        headers["Authorization"] = f"Bearer {os.environ[TOKEN]}"
    asked = urllib.request.Request(address, document, headers, method="PUT")  # noqa: S310  # as above
    with urllib.request.urlopen(asked, timeout=_WAIT_S) as answer:  # noqa: S310  # as above
        answer.read(LIMIT)


def _replace(file: Path, document: bytes) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with fresh.open("wb") as out:
            out.write(document)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
