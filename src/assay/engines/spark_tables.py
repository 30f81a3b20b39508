"""Tables that Spark has already: by the name of its catalog, or as a data frame. Nothing of them is copied."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from assay.engines.addresses import TABLE
from assay.engines.base import Source
from assay.engines.files import refuse_twins
from assay.engines.landing import Landing
from assay.engines.spark_sessions import functions_of
from assay.engines.spark_sql import dialect
from assay.engines.sql import Columns, family_of
from assay.errors import TableError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

TYPES: Final = {
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "timestamp_ntz": "TIMESTAMP",
    "binary": "BLOB",
    "void": '"NULL"',
}
"""DuckDB's type for one of Spark's, by whose families columns are told."""

_TEXTS: Final = re.compile(r"(var)?char\(\d+\)")
_DECIMALS: Final = re.compile(r"decimal\(\d+,\d+\)")
_ARRAYS: Final = re.compile(r"array<(.+)>")


def quoted(name: str) -> str:
    """A column's name as Spark reads it, whatever it holds."""
    return "`" + name.replace("`", "``") + "`"


def is_sparks(source: Source) -> bool:
    """Whether Spark has this table already.

    Raises:
        TableError: When tables of Spark's stand beside files.
    """
    named = [path for path in source.paths if path.startswith(TABLE)]
    if named and len(source.paths) > 1:
        raise TableError(f"{named[0]} must stand alone: one table of Spark's is one source")
    return bool(named) or type(source.table).__module__.startswith("pyspark.")


def frame_of(session: SparkSession, source: Source, view: str) -> DataFrame:
    """The table as a frame of our own session.

    Args:
        session: Ours.
        source: A table of Spark's.
        view: A name that nobody else uses, to hand a frame over from the session it was made in.

    Raises:
        TableError: When the frame is of a session elsewhere.
    """
    if source.table is None:
        return session.table(source.paths[0].removeprefix(TABLE))
    given: DataFrame = source.table  # type: ignore[assignment]  # is_sparks has looked
    theirs, ours = (getattr(one, "_jsc", None) for one in (given.sparkSession, session))
    if theirs is None or ours is None:
        raise TableError("a data frame of Spark Connect cannot be handed over: name its table instead")
    given.createOrReplaceGlobalTempView(view)
    return session.table(f"global_temp.{view}")


def described(frame: DataFrame) -> tuple[dict[str, str], Landing]:
    """The Spark type of each column, and the table as DuckDB would tell it.

    Raises:
        TableError: When two columns cannot be told apart.
    """
    refuse_twins("the table", frame.columns)
    types = {field.name: _spark_type(field.dataType.simpleString()) for field in frame.schema.fields}
    told = {name: _told(kind) for name, kind in types.items()}
    schema = frame.limit(0).toArrow().schema
    return types, Landing((), told, schema, ordered=False)


def _spark_type(kind: str) -> str:
    return "string" if _TEXTS.fullmatch(kind) else kind


def _told(kind: str) -> str:
    inside = _ARRAYS.fullmatch(kind)
    if inside:
        return f"{_told(inside[1])}[]"
    return kind.upper() if _DECIMALS.fullmatch(kind) else TYPES.get(kind, "STRUCT")


def taken(session: SparkSession, source: Source, view: str) -> tuple[Landing, Columns, DataFrame]:
    """A table that Spark has already, with columns ``c0``, ``c1`` …; its rows have no order but Spark's own.

    Args:
        session: Ours.
        source: The table.
        view: A name that nobody else uses.

    Raises:
        TableError: When it cannot be read here, or two columns cannot be told apart.
    """
    functions = functions_of(session)
    given = frame_of(session, source, view)
    types, landing = described(given)
    refused = {name: f"holds {kind} values" for name, kind in types.items() if landing.types[name] == "STRUCT"}
    refused |= {name: "has '${' in its name" for name in types if "${" in name}
    names = {name: f"c{i}" for i, name in enumerate(types)}

    def column(name: str) -> Column:
        if name in refused:
            nothing: Column = functions.lit(None)
            return nothing.cast("string").alias(names[name])
        found: Column = given[quoted(name)]
        kind = "string" if types[name] == "void" else types[name]
        if kind == "string":
            found = functions.validate_utf8(found)
        return found.cast(kind).alias(names[name])

    place = functions.monotonically_increasing_id().alias("r")
    frame = given.select(*(column(name) for name in types), functions.lit(0).alias("f"), place)
    families = {name: family_of(kind) for name, kind in landing.types.items()}
    kinds = {name: "string" if kind == "void" else kind for name, kind in types.items()}
    return landing, Columns(families, kinds, dialect(names, refused)), frame
