"""Score the monitor on ground truth, beside its peers.

    python benchmarks/monitoring/run.py [--quick] [--jobs 2] [--only assay|river|evidently|nannyml|alibi|real]

False alarms on streams and real tables that do not change, delays and missed changes on streams that do, by the monitor
and, on the same rows, by the peers that ``make bench-peers`` has set up. Results are kept line by line in results.jsonl
beside this file, so an interrupted run goes on; a full run writes RESULTS.md from them. ``--quick`` takes two minutes,
keeps nothing and prints its tables.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402 - threads are set first
import ours  # noqa: E402
import peers  # noqa: E402
import real  # noqa: E402
import tables  # noqa: E402
from counting import differences  # noqa: E402
from results import Store, measure  # noqa: E402
from streams import Stream  # noqa: E402


def main() -> None:
    """Measure what is not known yet, and write the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", action="append", choices=("assay", "real", *peers.PEERS, "none"))
    parser.add_argument("--rows", help="only rows whose name contains this")
    options = parser.parse_args()
    wanted = options.only or ["assay", "real", *peers.PEERS]
    wrong = differences(Stream(seed=1, baseline=5, live=2))
    if wrong:
        raise SystemExit(f"the counts differ from the engine's: {wrong[:3]}")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "results.jsonl" if options.quick else HERE / "results.jsonl"
        store = Store(path)
        if "assay" in wanted:
            jobs = ours.jobs(quick=options.quick)
            measure(store, (j for j in jobs if (options.rows or "") in j.jobs[0][0]), options.jobs)
        if "real" in wanted:
            jobs = real.jobs(quick=options.quick)
            measure(store, (j for j in jobs if (options.rows or "") in j.jobs[0][0]), options.jobs)
        peers.measure_all(store, quick=options.quick, only=[p for p in peers.PEERS if p in wanted])
        store.close()
        about = (
            f"Made by `benchmarks/monitoring/run.py` from `results.jsonl` beside it. Python "
            f"{platform.python_version()}, numpy {np.__version__}; seeds fixed."
        )
        page = tables.render(store, about)
    if options.quick:
        print(page)
    else:
        (HERE / "RESULTS.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
