"""A model behind an API: what is signed is the description of whom to ask, what to send and where the answer stands.

The description is a TOML file, ``endpoint.toml`` or the only ``*.toml`` of the model; it never holds a secret.
"""

from __future__ import annotations

import json
import math
import re
import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.errors import AnswerError, ConfigError, LoadError, TableError
from assay.frameworks.answers import from_scores
from assay.frameworks.asking import MAX_BYTES, TIMEOUT_S, Endpoint
from assay.frameworks.base import ModelFiles, Prediction, choose
from assay.frameworks.columns import select

if TYPE_CHECKING:
    import pyarrow as pa

_TOP = {"url", "method", "headers", "timeout_s", "max_bytes", "plain_http", "body", "query", "answer"}
_ANSWER = {"label", "probabilities", "log_probabilities", "classes", "class_key", "value_key"}
_MAX_FILE_BYTES = 1024 * 1024
_MOST_CLASSES = 100_000
_ROUNDING = 1e-3  # of probabilities and of their sum: what an API rounds
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_Template = object  # JSON values whose texts may hold {column}


@dataclass(frozen=True, slots=True)
class Where:
    """Where in the answer what stands, as JSON pointers (RFC 6901).

    Attributes:
        label: The predicted class or number; None when only probabilities tell it.
        scores: The probabilities: an object from class to number, a list in the order of ``classes``, or a list of
            objects with ``class_key`` and ``value_key``; classes that an answer leaves out count as 0.
        logarithms: They are natural logarithms of probabilities.
        classes: The classes of a list.
        keys: ``class_key`` and ``value_key``.
    """

    label: str | None = None
    scores: str | None = None
    logarithms: bool = False
    classes: tuple[str, ...] | None = None
    keys: tuple[str, str] | None = None


class Http:
    """Opens the description of an API and asks it; needs nothing but the standard library."""

    name = "http"

    def open(self, files: ModelFiles) -> HttpModel:
        """Read the verified description; nobody is asked yet.

        Raises:
            LoadError: There is no description, or it is wrong.
        """
        name = choose(files.names(), "endpoint.toml", ".toml")
        if name is None:
            raise LoadError("a model behind an API is described in endpoint.toml; there is none")
        raw = bytes(files.view(name)[: _MAX_FILE_BYTES + 1])
        if len(raw) > _MAX_FILE_BYTES:
            raise LoadError(f"{name} has more than {_MAX_FILE_BYTES:,} bytes")
        try:
            return _described(tomllib.loads(raw.decode()))
        except (ValueError, RecursionError) as err:
            raise LoadError(f"{name} is no TOML: {err}") from err
        except ConfigError as err:
            raise LoadError(f"{name}: {err.message}") from err


@dataclass(frozen=True, slots=True)
class HttpModel:
    """A model behind an API; one question for each row, one after another.

    Attributes:
        endpoint: Whom to ask.
        body: What to send, with ``{column}`` in its texts; None for nothing.
        query: What to join to the address, likewise.
        where: Where the answer stands.
        columns: The columns that are sent, sorted.
    """

    endpoint: Endpoint
    body: _Template
    query: Mapping[str, str]
    where: Where
    columns: tuple[str, ...]

    def predict(self, table: pa.Table) -> Prediction:
        """Ask about every row.

        Raises:
            TableError: A column is missing, or a value cannot be sent as JSON.
            AnswerError: The API cannot be asked, or did not answer as described. What it said before is lost.
        """
        return _joined([self._ask(row) for row in select(table, self.columns).to_pylist()], self.where)

    def _ask(self, row: Mapping[str, object]) -> tuple[object, dict[str, float] | None]:
        try:
            body = _filled(self.body, row)
            query = {key: str(_filled(text, row)) for key, text in self.query.items()}
            json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError) as err:
            raise TableError("a value of these rows cannot be sent as JSON: numbers, texts and lists can") from err
        answer = self.endpoint.ask(body, query)
        scores = _scores(_at(answer, self.where.scores), self.where) if self.where.scores is not None else None
        if self.where.label is None:
            assert scores is not None  # noqa: S101 - the description names one of the two
            return max(scores, key=lambda one: scores[one]), scores
        label = _at(answer, self.where.label)
        if not isinstance(label, (str, int, float)) or (isinstance(label, float) and not math.isfinite(label)):
            raise AnswerError(f"at {self.where.label} the API answered no text, number or truth value")
        return label, scores


def _joined(answers: Sequence[tuple[object, dict[str, float] | None]], where: Where) -> Prediction:
    import numpy as np

    given = [label for label, _ in answers]
    plain = {type(label) for label in given}
    labels = np.asarray(given) if len(plain) == 1 else np.empty(len(given), dtype=object)
    if len(plain) != 1:
        labels[:] = given
    if where.scores is None or not answers:
        return Prediction(labels)
    classes = where.classes or tuple(sorted({name for _, scores in answers for name in scores or ()}))
    table = np.zeros((len(answers), len(classes)))
    place = {name: at for at, name in enumerate(classes)}
    for row, (_, scores) in enumerate(answers):
        for name, value in (scores or {}).items():
            table[row, place[name]] = value
    if where.label is None:
        found = from_scores(table, classes)
        return Prediction(np.asarray(given), found.confidence, table, classes)
    own = [(scores or {}).get(str(label), math.nan) for label, scores in answers]
    return Prediction(labels, np.clip(np.asarray(own), 0, 1), table, classes)


def _scores(found: object, where: Where) -> dict[str, float]:
    pairs: list[tuple[object, object]]
    if isinstance(found, dict) and not where.keys:
        pairs = list(found.items())
    elif isinstance(found, list) and where.keys:
        pairs = [
            (one.get(where.keys[0]), one.get(where.keys[1])) if isinstance(one, dict) else ("", "") for one in found
        ]
    elif isinstance(found, list) and where.classes and len(found) == len(where.classes):
        pairs = list(zip(where.classes, found, strict=True))
    else:
        raise AnswerError(f"at {where.scores} the API answered no probabilities of the form described")
    scores: dict[str, float] = {}
    for name, value in pairs[: _MOST_CLASSES + 1]:
        if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, (int, float)):
            raise AnswerError(f"at {where.scores} stands a probability that is no number")
        if where.classes and name not in where.classes:
            raise AnswerError(f"at {where.scores} stands a class that the description does not name")
        if name in scores:
            raise AnswerError(f"at {where.scores} a class stands twice")
        scores[name] = _probability(value, where)
    if not scores or len(scores) > _MOST_CLASSES or sum(scores.values()) > 1 + _ROUNDING:
        raise AnswerError(f"at {where.scores} the API answered no probabilities: none, or more than 1 in all")
    return scores


def _probability(value: float, where: Where) -> float:
    try:
        found = math.exp(min(value, 1.0)) if where.logarithms else float(value)
    except OverflowError:
        found = math.nan
    if not 0 <= found <= 1 + _ROUNDING:
        raise AnswerError(f"at {where.scores} stands a number that is no probability")
    return found


def _at(answer: object, pointer: str) -> object:
    """What a JSON pointer leads to (RFC 6901)."""
    here = answer
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict) and name in here:
            here = here[name]
        elif isinstance(here, list) and _INDEX.fullmatch(name) and int(name) < len(here):
            here = here[int(name)]
        else:
            raise AnswerError(f"the API's answer has nothing at {pointer}")
    return here


def _filled(template: object, row: Mapping[str, object]) -> object:
    """The template with the row's values; a text that is one ``{column}`` and nothing else keeps the value's type."""
    if isinstance(template, dict):
        return {key: _filled(value, row) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, row) for value in template]
    if not isinstance(template, str):
        return template
    parts = list(string.Formatter().parse(template))
    if len(parts) == 1 and not parts[0][0] and parts[0][1] is not None:
        return row[parts[0][1]]
    return "".join(text + (_text(row[name]) if name is not None else "") for text, name, _, _ in parts)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False)


def _columns(template: object) -> set[str]:
    if isinstance(template, dict):
        return {name for value in template.values() for name in _columns(value)}
    if isinstance(template, list):
        return {name for value in template for name in _columns(value)}
    if not isinstance(template, str):
        return set()
    try:
        parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as err:
        raise ConfigError(f"{template[:60]!a} has a single brace: write {{column}}, or {{{{ for a brace") from err
    for _, name, spec, conversion in parts:
        if not name or spec or conversion:
            raise ConfigError(
                f"{template[:60]!a} has braces that name no column: write {{column}}, or {{{{ for a brace"
            )
    return {str(part[1]) for part in parts}


def _described(data: Mapping[str, object]) -> HttpModel:
    answer = _table(data.get("answer", {}), "answer")
    for keys, known, where in ((data, _TOP, "it"), (answer, _ANSWER, "[answer]")):
        if unknown := sorted(set(keys) - known):
            raise ConfigError(f"{where} has the unknown key {unknown[0]!a}; known are {', '.join(sorted(known))}")
    seconds, most = data.get("timeout_s", TIMEOUT_S), data.get("max_bytes", MAX_BYTES)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or type(most) is not int:
        raise ConfigError("timeout_s and max_bytes are numbers")
    endpoint = Endpoint(
        _word(data.get("url"), "url"),
        _word(data.get("method", "POST"), "method"),
        _words(data.get("headers", {}), "headers"),
        float(seconds),
        most,
        data.get("plain_http") is True,
    )
    body, query = data.get("body"), _words(data.get("query", {}), "query")
    try:
        json.dumps(body, allow_nan=False)
    except (TypeError, ValueError) as err:
        raise ConfigError("[body] holds what JSON has no word for (a time, nan)") from err
    if endpoint.method == "GET" and body is not None:
        raise ConfigError('GET sends no body: use [query], or method = "POST"')
    columns = tuple(sorted(_columns(body) | _columns(dict(query))))
    if not columns:
        raise ConfigError("neither [body] nor [query] sends a column: write {column} where its value goes")
    return HttpModel(endpoint, body, query, _where(answer), columns)


def _where(answer: Mapping[str, object]) -> Where:
    both = [key for key in ("probabilities", "log_probabilities") if key in answer]
    if len(both) > 1 or not (both or "label" in answer):
        raise ConfigError(
            "[answer] needs label, or one of probabilities and log_probabilities, or label and one of them"
        )
    named = [_word(answer[key], key) for key in ("class_key", "value_key") if key in answer]
    if len(named) == 1:
        raise ConfigError("[answer] needs class_key and value_key together")
    classes = answer.get("classes")
    if classes is not None and (
        not isinstance(classes, list) or len(set(map(str, classes))) != len(classes) or not classes
    ):
        raise ConfigError("[answer] classes is a list of different texts")
    found = Where(
        label=_word(answer["label"], "label") if "label" in answer else None,
        scores=_word(answer[both[0]], both[0]) if both else None,
        logarithms=both == ["log_probabilities"],
        classes=tuple(_word(one, "classes") for one in classes) if isinstance(classes, list) else None,
        keys=(named[0], named[1]) if named else None,
    )
    for pointer in (found.label, found.scores):
        if pointer and not pointer.startswith("/"):
            raise ConfigError(f"{pointer[:60]!a} is no JSON pointer: write /choices/0/text")
    return found


def _table(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ConfigError(f"{what} is a table")
    return value


def _word(value: object, what: str) -> str:
    if not isinstance(value, str) or (not value and what not in {"label", "probabilities", "log_probabilities"}):
        raise ConfigError(f"{what} must be a text in quotes")
    return value


def _words(value: object, what: str) -> dict[str, str]:
    return {key: _word(one, f"each of {what}") for key, one in _table(value, what).items()}
