"""Rows that a Delta table marks as deleted and still has in its files (Delta Lake protocol, "Deletion Vectors")."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import TableError

if TYPE_CHECKING:
    from deltalake import DeltaTable

FEATURE = "deletionVectors"
Rows = NDArray[np.int64]


def deleted_rows(table: DeltaTable, files: Iterable[str]) -> dict[str, Rows]:
    """Numbers of the deleted rows (int64, from 0, in their order) of those of `files` that have any.

    Raises
    ------
    TableError
        If they cannot be read, or are of a file that is not among `files`: then nobody could leave them out.
    """
    from deltalake.exceptions import DeltaError

    if FEATURE not in (table.protocol().reader_features or ()):
        return {}
    named = {os.path.realpath(file): file for file in files}
    found: dict[str, Rows] = {}
    try:
        vectors = pa.table(table.deletion_vectors())
    except (DeltaError, OSError) as error:
        said = str(error).splitlines()[0]
        raise TableError(f"The deletion vectors of a table cannot be read: {said}.", "restore the files they lie in.") from None
    for uri, kept in zip(vectors.column("filepath").to_pylist(), vectors.column("selection_vector"), strict=True):
        file = named.get(os.path.realpath(unquote(urlsplit(uri).path)))
        if file is None:
            raise TableError(f"Rows of {uri!r} are deleted, and the table does not have the file.", "its log is damaged; restore it.")
        found[file] = np.flatnonzero(~kept.values.to_numpy(zero_copy_only=False).astype(np.bool_))
    return {file: rows for file, rows in found.items() if len(rows)}
