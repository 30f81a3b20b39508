"""One table of assay.toml, read key by key; what nobody asked for is a mistake."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta

from assay.errors import ConfigError
from assay.storage.clock import parse_span

ROWS = re.compile(r"\s*0*[1-9][0-9]{0,8}\s*rows\s*")


def near(word: str, known: Iterable[str]) -> str:
    """The known word that a misspelt one was meant to be, as the end of a sentence."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


class Keys:
    """The keys of one table, each asked for once; what nobody asked for is a mistake."""

    def __init__(self, data: Mapping[str, object], where: str) -> None:
        self._data = data
        self._where = where
        self._asked: set[str] = set()

    def _get(self, key: str) -> object:
        self._asked.add(key)
        return self._data.get(key)

    def _wrong(self, key: str, value: object, wanted: str) -> ConfigError:
        return ConfigError(f"{self._where} {key} is {value!r}, {wanted} is wanted")

    def table(self, key: str) -> Mapping[str, object]:
        """A table; empty when it is not there."""
        value = self._get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self._wrong(key, value, "a table")
        return value

    def text(self, key: str, default: str | None = None) -> str | None:
        """Text, or what stands for none."""
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value or "\0" in value:
            raise self._wrong(key, value, "text in quotes")
        return value

    def need(self, key: str) -> str:
        """Text that must be there."""
        value = self.text(key)
        if value is None:
            raise ConfigError(f"{self._where} lacks `{key}`")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty when it is not there."""
        value = self._get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self._wrong(key, value, "a list of texts")
        return tuple(value)

    def one_of(self, key: str, choices: tuple[str, ...]) -> str:
        """One of some words; the first when it is not there."""
        value = self.text(key, choices[0]) or choices[0]
        if value not in choices:
            raise self._wrong(key, value, " or ".join(repr(choice) for choice in choices))
        return value

    def table_or_one_of(self, key: str, choices: tuple[str, ...]) -> Mapping[str, object] | str:
        """A table, or one of some words; the first when it is not there."""
        return self.table(key) if isinstance(self._get(key), Mapping) else self.one_of(key, choices)

    def flag(self, key: str) -> bool:
        """True or false; false when it is not there."""
        value = self._get(key)
        if not isinstance(value, bool | None):
            raise self._wrong(key, value, "true or false")
        return bool(value)

    def share(self, key: str, default: float) -> float:
        """A number from 0 that is below 1."""
        value = self.number(key)
        if value is not None and value >= 1:
            raise self._wrong(key, value, "a share from 0 and below 1")
        return default if value is None else value

    def count(self, key: str, default: int = 0) -> int:
        """A whole number from 0."""
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._wrong(key, value, "a whole number from 0")
        return value

    def number(self, key: str) -> float | None:
        """A finite number that is not negative; None where there is none."""
        value = self._get(key)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
            raise self._wrong(key, value, "a number from 0")
        return float(value)

    def span(self, key: str, default: timedelta) -> timedelta:
        """A span of time, as ``30d``."""
        value = self.text(key)
        if value is None:
            return default
        try:
            return parse_span(value)
        except ConfigError as err:
            raise ConfigError(f"{self._where} {key}: {err.message}") from err

    def window(self, key: str, default: str) -> str:
        """A span of time, or a number of rows."""
        value = self.text(key, default) or default
        if not ROWS.fullmatch(value):
            try:
                parse_span(value)
            except ConfigError as err:
                wanted = "a span (1d, 6h) or a number of rows (1000rows)"
                raise self._wrong(key, value, wanted) from err
        return value

    def nothing_else(self) -> None:
        """Refuse every key that was not asked for."""
        unknown = sorted(set(self._data) - self._asked)
        if unknown:
            raise ConfigError(
                f"{self._where} has the unknown key {unknown[0]!r}{near(unknown[0], self._asked)}; "
                f"known keys: {', '.join(sorted(self._asked))}"
            )
