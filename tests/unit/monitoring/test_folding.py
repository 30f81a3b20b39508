"""Signals that share a question are told by one answer, whichever way its codes become bins."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
from tests.unit.monitoring.streams import SCHEMA, START, requests

from assay.engines.base import CountQuery, Source
from assay.engines.duckdb import DuckDb
from assay.monitoring.folding import Asking, fold
from assay.monitoring.learning import learn_signals
from assay.monitoring.questions import ask

DAYS = 3
ENGINE = DuckDb()


def _odd(table: pa.Table) -> pa.Table:
    """With numbers that are none, values that were never seen, and a day without labels."""
    temperature = table["temperature"].to_numpy().copy()
    temperature[:5] = np.nan, np.inf, -np.inf, 1e9, -1e9
    region = [
        None if i % 7 == 0 else "west" if i % 5 == 0 else one for i, one in enumerate(table["region"].to_pylist())
    ]
    labels = [None if i < len(table) // DAYS else one for i, one in enumerate(table["y"].to_pylist())]
    changed = {"temperature": pa.array(temperature), "region": pa.array(region), "y": pa.array(labels, pa.string())}
    for name, values in changed.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    return table


def test_codes_become_bins_at_once_or_one_by_one() -> None:
    known, odd = Source(table=requests(DAYS)), Source(table=_odd(requests(DAYS, seed=1)))
    columns = ENGINE.columns(known)
    specs, _ = learn_signals(ENGINE, known, SCHEMA, columns, "classification")
    asking = Asking.of(ask(specs, SCHEMA), specs)
    assert len(asking.questions) < len(asking.asked)
    cuts = tuple(START + timedelta(days=day) for day in range(-1, DAYS + 2))
    tally = ENGINE.counts(odd, CountQuery(SCHEMA.time, cuts, asking.questions, label=SCHEMA.label))
    found = fold(tally, specs, asking, columns)
    assert found == fold(tally, specs, replace(asking, tables={}), columns)
    assert [list(one) for one in found] == [
        list(one) for one in fold(tally, specs, replace(asking, tables={}), columns)
    ]
    assert {type(n) for one in found for bins in one.values() for n in bins} == {int}
    day = found[1]
    assert day["feature:region:null"][1] == sum(i % 7 == 0 for i in range(200))
    assert day["feature:temperature:infinite"][1] == 2
    assert "error" not in day  # without labels there is no row to be right or wrong about
    assert "error" in found[2]
