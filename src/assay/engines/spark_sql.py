"""How Spark writes what engines ask. Pure: names and types come in, text goes out.

Columns are called ``c0``, ``c1`` … before any statement is written, so that no name from outside is in one.
Where Spark and DuckDB could differ, Spark is told in detail: how numbers are shown, which texts are numbers
and times. What cannot be told is an error, never another answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from assay.engines.lists import spark_lists
from assay.engines.sql import READABLE_NUMBER, READABLE_TIME, Dialect
from assay.errors import TableError

_PLAIN = re.compile(r"[A-Za-z0-9_ .:+-]*")
_TYPES: Final = {
    "TINYINT": "tinyint",
    "SMALLINT": "smallint",
    "INTEGER": "int",
    "BIGINT": "bigint",
    "UTINYINT": "smallint",
    "USMALLINT": "int",
    "UINTEGER": "bigint",
    "UBIGINT": "decimal(20,0)",
    "HUGEINT": "decimal(38,0)",
    "FLOAT": "float",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "VARCHAR": "string",
    "DATE": "date",
    "TIMESTAMP": "timestamp_ntz",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "TIMESTAMP_NS": "bigint",
    "TIMESTAMPTZ_NS": "bigint",
    '"NULL"': "string",
}
_WHOLE: Final = ("tinyint", "smallint", "int", "bigint", "decimal(20,0)", "decimal(38,0)")

# Schubfach (Giulietti 2020) gives the shortest digits that read back the same; Spark brings it along in Jackson. Java
# before 19 shows a digit too many at times.
_SHORTEST: Final = "java_method('com.fasterxml.jackson.core.io.schubfach.DoubleToDecimal', 'toString', {x})"
_FINEST: Final = "'1e-320'::DOUBLE"


def literal(text: str) -> str:
    """A text as a string of Spark's, whatever characters it has."""
    if _PLAIN.fullmatch(text):
        return f"'{text}'"
    return f"(X'{text.encode('utf-8', 'surrogatepass').hex()}'::STRING)"


def type_of(sql_type: str) -> str:
    """Spark's type for one of DuckDB's; empty where there is none."""
    return sql_type.lower() if re.fullmatch(r"DECIMAL\(\d+,\d+\)", sql_type) else _TYPES.get(sql_type, "")


def widened(column: str, had: str, wanted: str) -> str | None:
    """A column of one type as a wider one, the value unchanged; None where that is not sure."""
    if had == wanted:
        return column
    to_double = wanted == "double" and (had in {"float", *_WHOLE} or had.startswith("decimal"))
    to_whole = had in _WHOLE and wanted in _WHOLE and _WHOLE.index(had) < _WHOLE.index(wanted)
    to_time = had in {"date", "timestamp_ntz"} and wanted in {"timestamp", "timestamp_ntz"}
    stored = had == "timestamp" and wanted == "timestamp_ntz"  # INT96: an instant that DuckDB takes for UTC
    to_text = wanted == "string" and had in {"boolean", *_WHOLE}
    if to_double or to_whole or to_time or to_text or stored:
        return f"{column}::{wanted}"
    return None


def dialect(names: Mapping[str, str], refused: Mapping[str, str]) -> Dialect:
    """How to write about one table.

    Args:
        names: What each column is called in statements.
        refused: Columns that Spark cannot read as DuckDB does, and why.
    """
    return Dialect(
        quoted=_named(names, refused),
        literal=literal,
        string="STRING",
        over="DIV",
        infinite="abs({x}) = 'Infinity'::DOUBLE",
        number_of_text=(
            f"(CASE WHEN {{x}} RLIKE {_all(READABLE_NUMBER)} THEN CASE "
            "WHEN lower({x}) LIKE '%nan%' THEN 'NaN'::DOUBLE "
            "WHEN lower({x}) LIKE '%inf%' THEN (CASE WHEN {x} LIKE '%-%' THEN '-Infinity' ELSE 'Infinity' END)::DOUBLE "
            "ELSE try_cast({x} AS DOUBLE) END END)"
        ),
        micros_of_text=f"(CASE WHEN {{x}} RLIKE {_all(READABLE_TIME)} THEN {_stamp()} END)",
        micros_of_time=_micros,
        number_of_number=lambda x, _: f"{x}::DOUBLE",
        text_of_number=_shown_number(),
        text_of_other=_shown,
        lists=spark_lists(literal),
    )


def _named(names: Mapping[str, str], refused: Mapping[str, str]) -> Callable[[str], str]:
    def quoted(column: str) -> str:
        if column in refused:
            raise TableError(
                f"column {column!r} {refused[column]}, which Spark cannot read as DuckDB does: "
                "leave it out, or count with DuckDB"
            )
        return names[column]

    return quoted


def _all(pattern: str) -> str:
    r"""A pattern for the whole text: ``$`` would take one before a last line break as well."""
    return literal(rf"\A(?:{pattern})\z")


def _stamp() -> str:
    """Microseconds of a text that matches `READABLE_TIME`, NULL where there is no such day."""

    def group(number: int) -> str:
        return f"regexp_extract({{x}}, {_all(READABLE_TIME)}, {number})"

    def count(number: int) -> str:
        return f"coalesce(try_cast({group(number)} AS BIGINT), 0L)"

    month, day = f"lpad(concat({group(2)}, {group(3)}), 2, '0')", f"lpad({group(4)}, 2, '0')"
    days = f"unix_date(try_cast(concat({group(1)}, '-', {month}, '-', {day}) AS DATE))::BIGINT"
    seconds = f"{days} * 86400L + {count(5)} * 3600L + {count(6)} * 60L + {count(7)}"
    offset = f"(CASE WHEN {group(9)} = '-' THEN -1L ELSE 1L END) * ({count(10)} * 3600L + {count(11)} * 60L)"
    return f"(({seconds} - {offset}) * 1000000L + rpad(substr({group(8)}, 1, 6), 6, '0')::BIGINT)"


def _micros(x: str, kind: str) -> str:
    if kind == "date":
        return f"(unix_date({x})::BIGINT * 86400000000L)"
    if kind == "bigint":  # nanoseconds; DuckDB rounds halves away from zero
        return f"(CASE WHEN {x} < 0 THEN ({x} - 500L) DIV 1000L ELSE ({x} + 500L) DIV 1000L END)"
    return f"unix_micros({x}::TIMESTAMP)"


def _shown(x: str, kind: str) -> str:
    if kind == "string":
        return x
    if kind not in {"date", "timestamp", "timestamp_ntz"}:
        raise TableError(
            f"Spark shows {kind} values in other words than DuckDB: leave the column out of what is compared"
        )
    zone = ", '+00'" if kind == "timestamp" else ", ''"
    near = f"year({x}) BETWEEN 1 AND 9999"
    far = refusal("a time is before the year 1 or after 9999, which engines show in different words")
    return f"(CASE WHEN {x} IS NULL THEN NULL WHEN {near} THEN concat({x}::STRING{zone}) ELSE {far} END)"


def refusal(sentence: str) -> str:
    """An expression that ends a statement with a sentence of ours."""
    return f"raise_error({literal('assay: ' + sentence)})::STRING"


def _shown_number() -> str:
    """The shortest digits that read back the same, as DuckDB and Python write them."""
    exponent = "split(s, 'E')[1]::INTEGER"
    mantissa = "replace(concat(split(s, 'E')[0], '#'), '.0#', '#')"  # without a fraction of nothing
    digits = "translate(replace(concat(split(s, 'E')[0], '#'), '.0#', '#'), '-.#', '')"
    sign = "CASE WHEN startswith(s, '-') THEN '-' ELSE '' END"
    size = f"abs({exponent})"
    power = (
        f"concat(CASE WHEN {exponent} < 0 THEN '-' ELSE '+' END, CASE WHEN {size} < 10 THEN '0' ELSE '' END, {size})"
    )
    places = f"{exponent} + 1"
    plain = (
        f"CASE WHEN length({digits}) <= {places} THEN concat(rpad({digits}, {places}, '0'), '.0') "
        f"ELSE concat(substr({digits}, 1, {places}), '.', substr({digits}, {places} + 1)) END"
    )
    shown = (
        "CASE WHEN s = 'Infinity' THEN 'inf' WHEN s = '-Infinity' THEN '-inf' WHEN NOT contains(s, 'E') THEN s "
        f"WHEN {exponent} >= 16 OR {exponent} < -4 THEN concat(replace({mantissa}, '#', ''), 'e', {power}) "
        f"WHEN {exponent} < 0 THEN concat({sign}, '0.000', {digits}) ELSE concat({sign}, {plain}) END"
    )
    far = refusal("a number is nearer to zero than 1e-320, which engines show in different digits")
    # A function of one argument, so that the digits are made once.
    made = f"element_at(transform(array({_SHORTEST}), s -> {shown}), 1)"
    return f"(CASE WHEN {{x}} IS NULL THEN NULL WHEN abs({{x}}) < {_FINEST} THEN {far} ELSE {made} END)"
