"""Candidates as buffers: copied where serving may write on, and made an Arrow message later, by the thread that writes.

numpy is never imported: an array is whatever says its ``dtype``, ``shape`` and ``tobytes()``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

MATRIX = "\x00features"  # what the matrix is called within a record
NEEDED = frozenset({"request_id", "served_at", "task", "status", "keep_probability", "item_id", "stratum"})
_TYPES: dict[str, pa.DataType] = {
    "f2": pa.float16(),
    "f4": pa.float32(),
    "f8": pa.float64(),
    **{f"i{size}": getattr(pa, f"int{8 * size}")() for size in (1, 2, 4, 8)},
    **{f"u{size}": getattr(pa, f"uint{8 * size}")() for size in (1, 2, 4, 8)},
    "b1": pa.uint8(),  # made boolean after that
}
_TYPES |= {f"M8[{unit}]": pa.timestamp(unit, "UTC") for unit in ("s", "ms", "us", "ns")}


@dataclass(frozen=True)
class Raw:
    """A copy of a numpy array: type as numpy writes it, without the byte order; shape; bytes in C order."""

    kind: str
    shape: tuple[int, ...]
    data: bytes


def copied(value: Any) -> Any:
    """What `value` holds now, whatever becomes of it: `Raw`, an Arrow array (immutable, so not copied) or a list."""
    dtype = getattr(value, "dtype", None)
    if dtype is not None and hasattr(value, "tobytes"):
        kind = dtype.str[1:]
        if kind in _TYPES and dtype.isnative:
            return Raw(kind, value.shape, value.tobytes())
        return value.tolist()
    if isinstance(value, (pa.Array, pa.ChunkedArray)):
        return value
    return list(value)


def size_of(value: Any) -> int:
    """Bytes that a copy keeps in memory; an estimate for lists."""
    if isinstance(value, Raw):
        return len(value.data)
    if isinstance(value, list):
        return 100 * len(value)
    return int(value.nbytes)


def columns_of(candidates: Any) -> Mapping[str, Any]:
    """Columns of a mapping, a record batch or a table."""
    if isinstance(candidates, (pa.RecordBatch, pa.Table)):
        return dict(zip(candidates.schema.names, candidates.columns, strict=True))
    return candidates  # type: ignore[no-any-return]  # a mapping, or it fails where it is counted


@dataclass(frozen=True)
class Door:
    """What may pass: columns that are dropped, and decimals that columns are rounded to.

    Attributes
    ----------
    features : tuple of str
        Names of the matrix's columns.

    Raises
    ------
    ValueError
        If a column that a request cannot be without is dropped, or rounding is none.
    """

    features: tuple[str, ...] = ()
    drop: frozenset[str] = frozenset()
    rounding: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        needed = sorted(self.drop & NEEDED)
        if needed:
            raise ValueError(f"{', '.join(needed)} cannot be dropped: no request is stored without")
        if not all(isinstance(decimals, int) for decimals in (self.rounding or {}).values()):
            raise ValueError("rounding is a number of decimals for each column")

    @property
    def touches_features(self) -> bool:
        """Whether the matrix cannot pass as it is."""
        return any(name in self.drop or name in (self.rounding or {}) for name in self.features)


def batch_of(columns: Mapping[str, Any], door: Door) -> pa.RecordBatch:
    """The candidates of one request, the matrix as one column of lists of fixed size.

    Raises
    ------
    ValueError
        If lengths differ, the matrix has another width than there are names, or a value has no Arrow type.
    """
    names, arrays = [], []
    for name, value in columns.items():
        if name == MATRIX:
            for column, array in _matrix(value, door):
                names.append(column)
                arrays.append(array)
        elif name not in door.drop:
            names.append(name)
            arrays.append(_rounded(_array(value), name, door))
    if len({len(array) for array in arrays}) > 1:
        raise ValueError("columns of different lengths: " + ", ".join(f"{n} {len(a)}" for n, a in zip(names, arrays, strict=True)))
    lower = [name.lower() for name in names]
    if len(set(lower)) < len(lower):
        raise ValueError("two columns of one name, or of names that differ only by case")
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _array(value: Any) -> pa.Array:
    if isinstance(value, Raw):
        if len(value.shape) == 2:
            return _lists(value)
        if len(value.shape) != 1:
            raise ValueError(f"a column of {len(value.shape)} dimensions")
        return _flat(value)
    array = value if isinstance(value, (pa.Array, pa.ChunkedArray)) else pa.array(value)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
        array = array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)
    if pa.types.is_timestamp(array.type) and array.type.tz is None:  # as numpy's
        return array.cast(pa.timestamp(array.type.unit, "UTC"))
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _flat(value: Raw) -> pa.Array:
    kind, n = _TYPES[value.kind], _product(value.shape)
    array = pa.Array.from_buffers(kind, n, [None, pa.py_buffer(value.data)])
    if value.kind == "b1":
        return array.cast(pa.bool_())
    if value.kind.startswith("M8"):  # numpy's null is the least integer
        least = pa.scalar(-(2**63), pa.int64())
        missing = pc.equal(array.cast(pa.int64()), least)
        return pc.if_else(missing, pa.scalar(None, kind), array)
    return array


def _lists(value: Raw) -> pa.Array:
    rows, width = value.shape
    flat = _flat(value)
    kind = pa.list_(pa.field("item", flat.type), width)
    return pa.Array.from_buffers(kind, rows, [None], children=[flat])


def _matrix(value: Any, door: Door) -> list[tuple[str, pa.Array]]:
    if isinstance(value, Raw):
        if len(value.shape) != 2 or value.shape[1] != len(door.features):
            raise ValueError(f"features of shape {value.shape} for {len(door.features)} names")
        lists = _lists(value)
    else:
        lists = _array(value)
        if not pa.types.is_fixed_size_list(lists.type) or lists.type.list_size != len(door.features):
            raise ValueError(f"features of type {lists.type} for {len(door.features)} names")
    if not door.touches_features:
        return [(MATRIX, lists)]
    kept = [(place, name) for place, name in enumerate(door.features) if name not in door.drop]
    return [(name, _rounded(pc.list_element(lists, place), name, door)) for place, name in kept]


def _rounded(array: pa.Array, name: str, door: Door) -> pa.Array:
    """Numbers rounded, also those in lists."""
    decimals = (door.rounding or {}).get(name)
    if decimals is None:
        return array
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        sizes = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int32())
        ends = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(sizes)])
        return pa.ListArray.from_arrays(ends, _rounded(array.flatten(), name, door), mask=array.is_null())
    return pc.round(array, decimals) if pa.types.is_floating(array.type) or pa.types.is_integer(array.type) else array


def rounded(value: Any, decimals: int) -> Any:
    """A value of a request with its numbers rounded, also those in lists and mappings; anything else as it is.

    >>> rounded([12345, 1.26, {"a": 2.34}, True, "x"], 1), rounded(12345, -3)
    ([12345, 1.3, {'a': 2.3}, True, 'x'], 12000)
    """
    for name in ("tolist", "as_py", "to_pylist"):
        if hasattr(value, name):
            value = getattr(value, name)()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [rounded(element, decimals) for element in value]
    if isinstance(value, Mapping):
        return {key: rounded(inner, decimals) for key, inner in value.items()}
    number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    return round(value, decimals) if number else value


def _product(shape: Sequence[int]) -> int:
    n = 1
    for size in shape:
        n *= size
    return n
