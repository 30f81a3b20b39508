"""The canonical form of a row: the same values give the same bytes, whatever stored them.

A cell is 17 bytes: one byte for the kind of value and 16 for the value. Columns stand in the order of their
names. So the digest of a row does not depend on the order of columns, the width of integers, dictionary
encoding, compression, row groups or files:

* a number is its IEEE 754 double, little-endian, when that is exact, whether it was stored as an integer or
  as a float (1 and 1.0 are equal, -0 is 0); an integer beyond that is its 64 bits;
* NaN and null are one: missing. In a CSV file an empty field is missing too;
* text and bytes are the first 16 bytes of their BLAKE3 digest;
* a date is midnight UTC, a time stamp without a zone is UTC; both are microseconds since 1970 and the
  nanoseconds beyond;
* a decimal is its shortest text; anything nested is its JSON.

What a file format loses stays lost: text made of digits comes back from CSV as a number (007 is 7), a float of 32
bits as another of 64, and such copies are not recognised.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from assay.errors import TableError

DIGEST_BYTES = 16
CELL_BYTES = 17

_MISSING, _NUMBER, _BIG, _BIG_NEGATIVE, _TEXT, _BYTES, _FLAG, _INSTANT, _DECIMAL, _OTHER = range(10)

Bytes2D = np.ndarray[tuple[int, int], np.dtype[np.uint8]]


def family(kind: pa.DataType) -> str:
    """The family of a column's type: number, text, flag, instant, bytes, decimal, empty or other."""
    if pa.types.is_dictionary(kind):
        return family(kind.value_type)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    tests = {
        "text": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        "bytes": (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view),
        "flag": (pa.types.is_boolean,),
        "instant": (pa.types.is_timestamp, pa.types.is_date),
        "decimal": (pa.types.is_decimal,),
        "empty": (pa.types.is_null,),
    }
    for name, ways in tests.items():
        if any(way(kind) for way in ways):
            return name
    return "other"


def cells(batch: pa.RecordBatch, columns: Iterable[str]) -> Bytes2D:
    """The canonical rows of a batch, one row of bytes each: ``(rows, 17 * columns)``.

    Args:
        batch: Some rows of a table.
        columns: The columns to take, in this order.

    Raises:
        TableError: A column holds values that have no canonical form.
    """
    blocks = [_column(batch.column(name), name) for name in columns]
    if not blocks:
        return np.zeros((batch.num_rows, 0), dtype=np.uint8)
    return np.concatenate(blocks, axis=1)


def digests(rows: Bytes2D) -> bytes:
    """BLAKE3 of each row, cut to 16 bytes, one after the other.

    128 bits keep an altered row from passing as the old one (2^128 work). Somebody who may choose the old row
    *and* the new one before the first fingerprint needs 2^64; the SHA-256 of the files does not have that limit.
    """
    width = rows.shape[1]
    if not width:
        return blake3(b"").digest(length=DIGEST_BYTES) * len(rows)
    view = memoryview(rows.tobytes())
    return b"".join(
        blake3(view[start : start + width]).digest(length=DIGEST_BYTES) for start in range(0, len(view), width)
    )


def missing(block: Bytes2D) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The positions at which a single column's cells hold no value."""
    return np.flatnonzero(block[:, 0] == _MISSING)


def _column(array: pa.Array, name: str) -> Bytes2D:
    try:
        if pa.types.is_dictionary(array.type):
            array = pc.cast(array, array.type.value_type)
        kind = family(array.type)
        if kind == "number":
            return _numbers(array)
        if kind == "instant":
            return _instants(array)
        if kind == "flag":
            flags = pc.cast(pc.fill_null(array, pa.scalar(value=False)), pa.uint8())
            return _block(_FLAG, _as_bytes(flags.to_numpy(zero_copy_only=False), "u1"), pc.is_valid(array))
        return _digested(array, kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as err:
        raise TableError(f"column {name!r} of type {array.type} holds a value that has no canonical form") from err


def _block(tag: int, payload: np.ndarray, valid: pa.Array | np.ndarray) -> Bytes2D:
    """Cells of one kind: the tag, then the payload filled up with zeros; all zero where not valid."""
    block = np.zeros((len(payload), CELL_BYTES), dtype=np.uint8)
    block[:, 0] = tag
    block[:, 1 : 1 + payload.shape[1]] = payload
    there = np.asarray(valid if isinstance(valid, np.ndarray) else valid.to_numpy(zero_copy_only=False), dtype=bool)
    block[~there] = 0
    return block


def _numbers(array: pa.Array) -> Bytes2D:
    valid = np.asarray(pc.is_valid(array).to_numpy(zero_copy_only=False), dtype=bool)
    if pa.types.is_floating(array.type):
        double = np.asarray(pc.fill_null(pc.cast(array, pa.float64()), 0.0).to_numpy(zero_copy_only=False)) + 0.0
        valid &= ~np.isnan(double)  # -0.0 + 0.0 is 0.0
        return _block(_NUMBER, _as_bytes(double, "<f8"), valid)
    unsigned = pa.types.is_uint64(array.type)
    whole = np.asarray(
        pc.fill_null(pc.cast(array, pa.uint64() if unsigned else pa.int64()), 0).to_numpy(zero_copy_only=False)
    )
    double = whole.astype(np.float64)
    inside = double < (2.0**64 if unsigned else 2.0**63)  # beyond, the way back to an integer is undefined
    exact = inside & (np.where(inside, double, 0.0).astype(whole.dtype) == whole)
    block = _block(_NUMBER, _as_bytes(double, "<f8"), valid)
    big = valid & ~exact
    if big.any():
        block[big, 0] = np.where(whole[big] < 0, _BIG_NEGATIVE, _BIG)
        block[big, 1:9] = _as_bytes(whole[big], "<u8" if unsigned else "<i8")
    return block


def _instants(array: pa.Array) -> Bytes2D:
    kind = array.type
    if pa.types.is_date(kind):
        array = pc.cast(array, pa.timestamp("s" if pa.types.is_date32(kind) else "ms"))
    unit = array.type.unit
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    ticks = np.asarray(pc.fill_null(pc.cast(array, pa.int64()), 0).to_numpy(zero_copy_only=False))
    if unit == "ns":
        micros, beyond = np.divmod(ticks, 1000)
    else:
        factor = 10**6 // per_second
        if len(ticks) and max(abs(int(ticks.max())), abs(int(ticks.min()))) > (2**63 - 1) // factor:
            raise OverflowError
        micros, beyond = ticks * factor, np.zeros_like(ticks)
    payload = np.concatenate([_as_bytes(micros, "<i8"), _as_bytes(beyond, "<i8")], axis=1)
    return _block(_INSTANT, payload, pc.is_valid(array))


def _digested(array: pa.Array, kind: str) -> Bytes2D:
    """Text, bytes, decimals and everything else: each distinct value is hashed once."""
    if kind == "empty":
        return np.zeros((len(array), CELL_BYTES), dtype=np.uint8)
    tag = {"text": _TEXT, "bytes": _BYTES, "decimal": _DECIMAL}.get(kind, _OTHER)
    if kind == "other":
        array = pa.array([None if value is None else _json(value) for value in array.to_pylist()], pa.large_string())
    if kind != "decimal":
        array = pc.cast(array, pa.large_binary())
    encoded = pc.dictionary_encode(array)
    indices = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
    distinct = encoded.dictionary.to_pylist()
    table = b"".join(blake3(_amount(value) if kind == "decimal" else value).digest(length=16) for value in distinct)
    payload = np.frombuffer(table or bytes(16), dtype=np.uint8).reshape(-1, 16)[np.asarray(indices, dtype=np.intp)]
    return _block(tag, payload, pc.is_valid(array))


def _amount(value: Decimal) -> bytes:
    """12.300 and 12.3 are the same amount, and so are 0 and -0.00."""
    text = format(value, "f") if value else "0"
    return (text.rstrip("0").rstrip(".") if "." in text else text).encode()


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)


def _as_bytes(values: np.ndarray, dtype: str) -> Bytes2D:
    flat = np.ascontiguousarray(values.astype(dtype, copy=False))
    return flat.view(np.uint8).reshape(len(flat), -1)
