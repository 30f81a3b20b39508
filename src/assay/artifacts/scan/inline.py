"""NumPy arrays that joblib writes between the opcodes of a pickle.

After the BUILD of a ``NumpyArrayWrapper`` the array's bytes follow: since joblib 1.2 first a byte that
says how many bytes of padding come, or, for an array of objects, another pickle. Source:
``joblib/numpy_pickle.py``, ``NumpyArrayWrapper.read_array``. Whoever reads such a file with plain
``pickle`` takes the array's bytes for opcodes, so both readings are followed.
"""

from __future__ import annotations

import math
import re

from assay.artifacts.scan.machine import follow
from assay.artifacts.scan.opcodes import KINDS
from assay.artifacts.scan.state import Sighting, State
from assay.artifacts.scan.values import Made, Named, Table

_WRAPPERS = frozenset(
    {"joblib.numpy_pickle.NumpyArrayWrapper", "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper"}
)
MAX_NESTED = 16  # arrays of objects in arrays of objects
_MAKERS = frozenset({"copyreg._reconstructor", "copy_reg._reconstructor", "copyreg.__newobj__"})
_DTYPE = re.compile(r"[<>|=]?([?bBhHiIlLqQefdgFDGSaUVcmMuO])(\d{0,9})(?:\[[^\]]*\])?\Z")
_LETTERS = {"?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "l": 8, "L": 8, "q": 8, "Q": 8}
_LETTERS |= {"e": 2, "f": 4, "d": 8, "F": 8, "D": 16, "m": 8, "M": 8}
_SIZED = "SaUV"
_STATE_SIZE, _STATE_FLAGS, _HAS_OBJECT = 5, 7, 1  # numpy: arraydescr_reduce; NPY_ITEM_REFCOUNT


def read_array(state: State) -> None:
    """Step over the array that follows an object that was just built, if one does."""
    wrapper = state.top()
    if not isinstance(wrapper, Made) or _made_of(wrapper) not in _WRAPPERS:
        return
    at = state.stream.at
    if state.frame_end > at:  # joblib closes the frame in front of an array: two readers would go two ways
        state.see(Sighting("framed", "", "an array in the middle of a frame", at))
    fields = wrapper.state.entries if isinstance(wrapper.state, Table) else {}
    size = item_size(fields.get("dtype"))
    count = _count(fields.get("shape"))
    padded = isinstance(fields.get("numpy_array_alignment_bytes"), int)
    if size is None or count is None or state.depth >= MAX_NESTED:
        _as_plain_pickle(state, at)
        state.see(Sighting("unmeasured", "", "an array whose length cannot be told", at))
    elif size == 0 and _objects(fields.get("dtype")):
        _objects_of(state, at)
    elif padded or size * count:
        _as_plain_pickle(state, at)
        padding = state.content.read(at, 1) if padded else b""
        state.stream.at = at + size * count + (1 + padding[0] if padding else 0)


def _objects_of(state: State, at: int) -> None:
    """Follow the pickle that holds the elements of an array of objects."""
    inner = State(state.content, at, state.budget)
    inner.on_built, inner.depth = read_array, state.depth + 1
    walk = follow(inner)
    for sighting in walk.sightings:
        state.see(sighting)
    for blob in walk.blobs:
        state.keep(blob)
    state.stream.at = walk.end


def _as_plain_pickle(state: State, at: int) -> None:
    """Follow the same bytes as opcodes; what is named there by accident is no finding, what is dangerous is."""
    head = state.content.read(at, 1)
    if not head or head[0] not in KINDS or state.ghost:
        return
    other = state.fork(at)
    other.ghost = True
    for sighting in follow(other).sightings:
        sighting.doubtful = True
        state.see(sighting)


def _made_of(value: object) -> str:
    if not isinstance(value, Made) or not isinstance(value.target, Named):
        return ""
    inner = value.arguments[0] if isinstance(value.arguments, tuple) and value.arguments else None
    if value.target.path in _MAKERS and isinstance(inner, Named):
        return inner.path
    return value.target.path


def _count(shape: object) -> int | None:
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
        return None
    return math.prod(size for size in shape if isinstance(size, int))


def item_size(dtype: object) -> int | None:
    """Bytes of one element as numpy would take them, 0 for objects, None when it cannot be told."""
    if not isinstance(dtype, Made) or _made_of(dtype) != "numpy.dtype" or not isinstance(dtype.arguments, tuple):
        return None
    text = dtype.arguments[0] if dtype.arguments else None
    found = _DTYPE.match(text) if isinstance(text, str) else None
    if found is None or _objects(dtype):
        return None if found is None else 0
    letter, digits = found.groups()
    if letter in _SIZED:
        stated = dtype.state[_STATE_SIZE] if isinstance(dtype.state, tuple) and len(dtype.state) > _STATE_SIZE else -1
        return stated if isinstance(stated, int) and stated >= 0 else int(digits or 0) * (4 if letter == "U" else 1)
    return int(digits) if digits and letter not in "mM" else _LETTERS.get(letter)


def _objects(dtype: object) -> bool:
    """Whether an array of this type holds objects, which are pickled."""
    if not isinstance(dtype, Made) or not isinstance(dtype.arguments, tuple) or not dtype.arguments:
        return False
    if isinstance(dtype.arguments[0], str) and "O" in dtype.arguments[0]:
        return True
    state = dtype.state
    flags = state[_STATE_FLAGS] if isinstance(state, tuple) and len(state) > _STATE_FLAGS else 0
    return isinstance(flags, int) and bool(flags & _HAS_OBJECT)
