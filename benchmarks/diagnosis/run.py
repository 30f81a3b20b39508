"""Fit and score the weights of the diagnosis.

Makes every scenario on nine public data sets (images, tables, a text), gathers the evidence, fits the
multinomial logistic model on all data sets but one and scores it on that one, each in turn; then fits
the weights that ship on all of them. The numbers quoted are those of the data set left out.

    python benchmarks/diagnosis/run.py [--seeds 1] [--jobs 1] [--cache FILE] [--write]

``--fresh`` judges also two thirds of the cases of the next seed by the same weights: other rows, other
models, other sizes of the same causes. They are never fitted on; the first third was looked at once to see
why attacks were missed, the second by nobody while the evidence was shaped. Evidence is kept in the cache
until the code it came from changes. ``--write`` replaces src/assay/diagnosis/weights.json, and RESULTS.md,
results.json and calibration.svg beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
os.environ["PYTHONPATH"] = f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"  # for the processes started

import numpy as np  # noqa: E402 - threads are set first
from collecting import PACKAGE, collect, jobs  # noqa: E402
from datasets import LOADERS  # noqa: E402
from report import plot, report  # noqa: E402
from rules import judged  # noqa: E402
from scoring import MASKS, SHOWN_ONLY, alone, answers, bins, calibrated, figures, left_out, matrix  # noqa: E402
from worlds import FAMILIES, SCENARIOS  # noqa: E402


def main() -> None:
    """Make, fit, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--fresh", action="store_true", help="judge also two thirds of the next seed's cases")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    records = collect([*jobs(range(options.seeds))], options.jobs, options.cache)
    named = {f"{e['name']}.{k}" for r in records for e in r["evidence"] for k in e["numbers"]}
    measures = tuple(sorted(named - set(SHOWN_ONLY)))
    seconds = np.array([r["seconds"] for r in records])
    made = {
        "by": "benchmarks/diagnosis/run.py",
        "cases": len(records),
        "scenarios": len(SCENARIOS),
        "datasets": list(LOADERS),
        "families": list(FAMILIES),
        "seeds": options.seeds,
    }
    timed = {
        "median": round(float(np.median(seconds)), 2),
        "most_of_them": round(float(np.quantile(seconds, 0.95)), 2),
        "longest": round(float(seconds.max()), 2),
    }
    weights = left_out(records, measures)
    found = {mask: answers(records, weights, mask) for mask in MASKS}
    results = {
        mask: {"figures": figures(items), "matrix": matrix(items), "bins": bins(items)} for mask, items in found.items()
    }
    for mask, result in results.items():
        print(mask, {k: round(v, 3) for k, v in result["figures"].items()})
    for mask in ("all", "no known-good copy"):
        print(mask, *(f"   {name:24s} {said}" for name, said in results[mask]["matrix"].items()), sep="\n")
    extra: dict[str, dict] = {"rules": judged(records, found["all"]), "alone": alone(records, measures)}
    for which, key, groups in (("data set", "dataset", LOADERS), ("family", "family", FAMILIES)):
        extra[which] = {
            mask: {name: figures([a for a in found[mask] if a.record[key] == name]) for name in groups}
            for mask in ("all", "no known-good copy")
        }
    if options.fresh:
        for part, which in enumerate(("seen", "fresh")):
            later = collect([*jobs([options.seeds])][part::3], options.jobs, options.cache)
            extra[which] = {mask: figures(answers(later, weights, mask)) for mask in MASKS}
            print(which, {mask: {k: round(v, 3) for k, v in f.items()} for mask, f in extra[which].items()})
    print({name: {k: round(v, 2) for k, v in rule.items()} for name, rule in extra["rules"].items()})
    print("alone", {k: round(v, 3) for k, v in extra["alone"].items()})
    print("seconds", timed, "temperatures", {k: w.made["temperature"] for k, w in weights.items()})
    if options.write:
        final = calibrated(records, measures, made | {"left_out": {m: r["figures"] for m, r in results.items()}})
        data = final.to_json() | {"alone": {k: round(v, 4) for k, v in extra["alone"].items()}}
        (PACKAGE / "weights.json").write_text(json.dumps(data, indent=1) + "\n")
        (HERE / "RESULTS.md").write_text(report(results, extra, made | {"seconds": timed}))
        (HERE / "calibration.svg").write_text(plot(results))
        whole = {"made": made, "seconds": timed, "results": results, **extra}
        (HERE / "results.json").write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
