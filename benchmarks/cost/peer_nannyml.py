"""NannyML on the same tables, in an environment of its own: ``python peer_nannyml.py REFERENCE CURRENT [ROWS]``.

The distance of every column in each day of the current table, without accuracy, for which it wants a probability of
every class; with ROWS, the milliseconds that so many
further rows take after it was fitted. The last line printed is JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.filterwarnings("ignore")

import nannyml as nml  # noqa: E402 - telling it to keep quiet comes first
import pandas as pd  # noqa: E402

BESIDE = ("ts", "id", "error")
REPEATS = 3


def main() -> None:
    """All days, or a few rows at a time."""
    known, live = pd.read_parquet(sys.argv[1]), pd.read_parquet(sys.argv[2])
    columns = [column for column in known if column not in BESIDE]
    texts = [column for column in columns if not pd.api.types.is_numeric_dtype(known[column])]
    drift = nml.UnivariateDriftCalculator(
        column_names=columns,
        treat_as_categorical=texts,
        timestamp_column_name="ts",
        continuous_methods=["jensen_shannon"],
        categorical_methods=["jensen_shannon"],
        chunk_period="D",
    )
    drift.fit(known)
    if len(sys.argv) > 3:
        rows, took = int(sys.argv[3]), []
        for place in range(REPEATS + 1):
            some = live.iloc[place * rows : (place + 1) * rows].reset_index(drop=True)
            began = time.process_time()
            drift.calculate(some)
            took.append(1000 * (time.process_time() - began))
        print(json.dumps({"cpu_ms": statistics.median(took[1:])}))
    else:
        days = len(drift.calculate(live).filter(period="analysis").to_df())
        print(json.dumps({"chunks": days}))


if __name__ == "__main__":
    main()
