"""Records the calls of a model: of a predictor, or of any function that predicts."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import ParamSpec, Protocol, TypeGuard, TypeVar, cast

import numpy as np
import pyarrow as pa

from assay.errors import TableError
from assay.frameworks.base import Prediction, Predictor
from assay.monitoring.partitions import check_columns
from assay.monitoring.rows import as_table

P = ParamSpec("P")
R = TypeVar("R")

_LAST: ContextVar[tuple[str, ...]] = ContextVar("assay_request_ids", default=())
_SELF = ("self", "cls")


class Recording(Protocol):
    """What takes the rows of a call."""

    def log_batch(self, table: pa.Table) -> list[str]:
        """Take a table of requests; gives their ids."""
        ...

    def miss(self, why: Exception) -> None:
        """A call that cannot be recorded: counted, and told once."""
        ...


class _Future(Protocol):
    """An answer that another thread or task gives: of asyncio, of concurrent.futures, or like them."""

    def add_done_callback(self, callback: Callable[[_Future], object], /) -> object: ...

    def exception(self) -> BaseException | None: ...

    def result(self) -> object: ...


def last_request_ids() -> tuple[str, ...]:
    """Ids of the rows of the last recorded call of this thread or task, in their order: what labels are logged by."""
    return _LAST.get()


class Watched:
    """A predictor whose every call is recorded."""

    def __init__(self, predictor: Predictor, recorder: Recording) -> None:
        self._predictor = predictor
        self._recorder = recorder

    def predict(self, table: pa.Table) -> Prediction:
        """Predict every row, and record inputs, answer, confidence, latency of the call in seconds, and errors."""
        check_columns(table.column_names)
        began = time.perf_counter()
        try:
            answer = self._predictor.predict(table)
        except Exception as err:
            failed = [type(err).__name__] * table.num_rows
            _log(self._recorder, table, {"error": failed}, time.perf_counter() - began)
            raise
        said = {"prediction": answer.labels.tolist()}
        if answer.confidence is not None:
            said["confidence"] = answer.confidence.tolist()
        _log(self._recorder, table, said, time.perf_counter() - began)
        return answer


def _log(recorder: Recording, asked: pa.Table, said: Mapping[str, Sequence[object]], taken: float) -> tuple[str, ...]:
    rows = asked.num_rows
    if not rows:
        return ()
    nothing = [None] * rows
    told = {"prediction": nothing, "confidence": nothing, "error": nothing, **said, "latency_s": [taken] * rows}
    added = as_table(list(told), list(zip(*told.values(), strict=True)))
    for name in added.column_names:
        asked = asked.append_column(name, added[name])
    return tuple(recorder.log_batch(asked))


def recorded(
    function: Callable[P, R],
    recorder: Recording,
    *,
    inputs: Sequence[str] | None = None,
    classes: Sequence[object] | None = None,
    request_id: str | None = None,
) -> Callable[P, R]:
    """A function that answers as this one does, and records what it is asked and answers; see `Recorder.recorded`."""
    runs = _run_by(function)
    if inspect.isgeneratorfunction(runs) or inspect.isasyncgenfunction(runs):
        raise ValueError("a function that yields its answer bit by bit cannot be recorded: record the whole answer")
    call = _Call(function, recorder, inputs, classes, request_id)

    if inspect.iscoroutinefunction(runs):

        @functools.wraps(function)
        async def awaited(*args: P.args, **kwargs: P.kwargs) -> object:
            asked, began = call.asked(args, kwargs), time.perf_counter()
            return await call.awaited(asked, cast("Awaitable[object]", function(*args, **kwargs)), began)

        return cast("Callable[P, R]", awaited)

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        asked, began = call.asked(args, kwargs), time.perf_counter()
        try:
            answer = function(*args, **kwargs)
        except BaseException as err:
            call.failed(asked, err, time.perf_counter() - began)
            raise
        if inspect.iscoroutine(answer):
            return cast("R", call.awaited(asked, answer, began))
        if _comes_later(answer):
            answer.add_done_callback(lambda done: call.done(asked, done, began))
        else:
            call.answered(asked, answer, time.perf_counter() - began)
        return answer

    return called


def _comes_later(answer: object) -> TypeGuard[_Future]:
    return callable(getattr(answer, "add_done_callback", None))


def _run_by(function: Callable[..., object]) -> Callable[..., object]:
    """What runs when this is called: the function of a partial, the method of an object that is called like one."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


class _Asked:
    """What one call was asked, copied before the function could change it."""

    def __init__(self, value: object, ids: Sequence[object] | None, classes: Sequence[object] | None) -> None:
        self.value = value
        self.ids = ids
        self.classes = classes


class _Call:
    """How the calls of one function are read as rows. Nothing here ever reaches the caller."""

    def __init__(
        self,
        function: Callable[..., object],
        recorder: Recording,
        inputs: Sequence[str] | None,
        classes: Sequence[object] | None,
        request_id: str | None,
    ) -> None:
        if inputs is not None:
            check_columns(inputs)
        self._signature = inspect.signature(function)
        if request_id is not None and request_id not in self._signature.parameters:
            raise ValueError(f"the function has no parameter {request_id!r} to take request ids from")
        self._recorder = recorder
        self._inputs = inputs
        self._classes = classes
        self._request_id = request_id
        self._owner = getattr(function, "__self__", None)
        # What a partial was given before is no request's.
        self._preset = frozenset(function.keywords) if isinstance(function, functools.partial) else frozenset[str]()
        parameters = self._signature.parameters.values()
        self._others = next((one.name for one in parameters if one.kind is one.VAR_KEYWORD), "")

    def asked(self, args: Sequence[object], kwargs: Mapping[str, object]) -> _Asked | None:
        """Copy what the function is asked; None when it cannot be read."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:
            return None  # the function will say so
        try:
            given = set(bound.arguments)
            bound.apply_defaults()
            told = {name: value for name, value in bound.arguments.items() if name in given or name not in self._preset}
            owner = self._owner
            if next(iter(told), None) in _SELF:
                owner = told.pop(next(iter(told)))
            said = told.pop(self._request_id, None) if self._request_id else None
            ids = None if said is None else _answers(said)
            classes = self._classes if self._classes is not None else getattr(owner, "classes_", None)
            if len(told) == 1:
                value = _copied(next(iter(told.values())))
            else:
                told |= told.pop(self._others, {})
                value = {name: _copied(one) for name, one in told.items()}
        except Exception as err:  # noqa: BLE001 - the service comes first
            self._recorder.miss(err)
            return None
        return _Asked(value, ids, classes)

    async def awaited(self, asked: _Asked | None, answer: Awaitable[object], began: float) -> object:
        """Wait for an answer, and record it."""
        try:
            found = await answer
        except BaseException as err:
            self.failed(asked, err, time.perf_counter() - began)
            raise
        self.answered(asked, found, time.perf_counter() - began)
        return found

    def done(self, asked: _Asked | None, answer: _Future, began: float) -> None:
        """Record what another thread or task has answered."""
        try:
            error = answer.exception()
        except BaseException as err:  # noqa: BLE001 - it was cancelled, and each kind of future says so in its own way
            error = err
        if error is not None:
            self.failed(asked, error, time.perf_counter() - began)
        else:
            self.answered(asked, answer.result(), time.perf_counter() - began)

    def answered(self, asked: _Asked | None, answer: object, taken: float) -> None:
        """Record a call that answered."""
        if asked is None:
            return
        try:
            labels, confidence = _read_answer(answer, asked.classes)
            said: dict[str, Sequence[object]] = {"prediction": labels}
            if confidence is not None:
                said["confidence"] = confidence
            self._log(asked, said, _table(asked.value, self._inputs, len(labels)), taken)
        except Exception as err:  # noqa: BLE001 - the service comes first
            self._recorder.miss(err)

    def failed(self, asked: _Asked | None, error: BaseException, taken: float) -> None:
        """Record a call that raised."""
        if asked is None:
            return
        try:
            table = _table(asked.value, self._inputs, None)
            self._log(asked, {"error": [type(error).__name__] * table.num_rows}, table, taken)
        except Exception as err:  # noqa: BLE001 - the service comes first
            self._recorder.miss(err)

    def _log(self, asked: _Asked, said: Mapping[str, Sequence[object]], table: pa.Table, taken: float) -> None:
        check_columns(table.column_names)
        if asked.ids is not None:
            said = {**said, "request_id": [str(one) for one in asked.ids]}
        _LAST.set(_log(self._recorder, table, said, taken))


def _copied(value: object) -> object:
    """A copy that the function cannot change, of what arrays and data frames hold."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list):
        return [_copied(one) for one in value] if value and isinstance(value[0], list | dict) else list(value)
    if isinstance(value, dict):
        return dict(value)
    copy = getattr(value, "copy", None) if hasattr(value, "__dataframe__") else None
    return copy() if callable(copy) else value


def _table(value: object, names: Sequence[str] | None, rows: int | None) -> pa.Table:
    """What was asked as a table.

    Args:
        value: A table, a data frame, an array, rows, or one row.
        names: Names of columns that have none.
        rows: How many answers came; None when none did. One dimension of values is that many rows, or one.
    """
    framed = _framed(value)
    if framed is not None:
        return framed
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        if value and all(isinstance(one, list | np.ndarray) and len(one) == rows for one in value.values()):
            return pa.table({str(name): pa.array(one) for name, one in value.items()})
        value = [value]
    if not isinstance(value, list | tuple):
        return _named([(value,)], names)
    if value and all(isinstance(one, Mapping) for one in value):
        columns = list(dict.fromkeys(name for one in value for name in one))
        return as_table(list(map(str, columns)), [tuple(one.get(name) for name in columns) for one in value])
    if value and all(isinstance(one, list | tuple) for one in value):
        return _named([tuple(one) for one in value], names)
    return _named([(one,) for one in value] if rows == len(value) else [tuple(value)], names)


def _framed(value: object) -> pa.Table | None:
    """A table or data frame as a table of Arrow."""
    if isinstance(value, pa.Table):
        return value
    if hasattr(value, "columns") and hasattr(value, "index"):  # of pandas: the index is no input
        return pa.Table.from_pandas(value, preserve_index=False)
    return pa.table(value) if hasattr(value, "__arrow_c_stream__") else None


def _named(rows: Sequence[tuple[object, ...]], names: Sequence[str] | None) -> pa.Table:
    width = len(rows[0])
    names = [f"x{place}" for place in range(width)] if names is None else names
    if len(names) != width:
        raise TableError(f"{width} inputs came, and {len(names)} were named: {', '.join(names)}")
    return as_table(names, rows)


def _read_answer(answer: object, classes: Sequence[object] | None) -> tuple[list[object], list[object] | None]:
    """Predictions, and confidences where there are any; probabilities of classes give both."""
    if isinstance(answer, Iterator | AsyncIterator | Awaitable):
        raise TableError(
            f"a {type(answer).__name__} is not an answer yet: record the function that makes the whole of it"
        )
    if isinstance(answer, Prediction):
        return answer.labels.tolist(), None if answer.confidence is None else answer.confidence.tolist()
    for name in ("to_numpy", "numpy"):
        if callable(getattr(answer, name, None)) and not isinstance(answer, np.ndarray):
            answer = getattr(answer, name)()
            break
    if isinstance(answer, list) and answer and all(isinstance(one, list) for one in answer):
        answer = np.asarray(answer, dtype=np.float64)
    if isinstance(answer, np.ndarray) and answer.ndim == 2 and answer.shape[1] > 1:  # noqa: PLR2004 - rows by classes
        if classes is not None and len(classes) != answer.shape[1]:
            raise TableError(f"{answer.shape[1]} probabilities came, and {len(classes)} classes were named")
        best = answer.argmax(axis=1)
        named = best if classes is None else np.asarray(classes)[best]
        return named.tolist(), answer.max(axis=1).tolist()
    if isinstance(answer, np.ndarray):
        one_a_row = np.atleast_1d(answer.squeeze())
        if one_a_row.ndim > 1:
            raise TableError(f"an answer of shape {answer.shape} is not one prediction a row")
        return one_a_row.tolist(), None
    return _answers(answer), None


def _answers(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple | np.ndarray) else [value]
