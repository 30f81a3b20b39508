"""Fit and score the weights of the diagnosis.

Makes every scenario on three data sets that ship with scikit-learn, gathers the evidence, fits the
multinomial logistic model on two data sets and scores it on the third, each in turn; then fits the
weights that ship on all three. The numbers quoted are those of the data set left out.

    python benchmarks/diagnosis/run.py [--seeds 2] [--jobs 2] [--cache FILE] [--write]

``--write`` replaces src/assay/diagnosis/weights.json and RESULTS.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402 - threads are set first
from joblib import Parallel, delayed  # noqa: E402
from scenarios import DATASETS, FAMILIES, SCENARIOS, make  # noqa: E402

from assay.diagnosis.diagnose import gather_all  # noqa: E402
from assay.diagnosis.evidence.base import Evidence  # noqa: E402
from assay.diagnosis.verdict import DEFAULT_PRIORS, decide  # noqa: E402
from assay.diagnosis.weights import CAP, Weights  # noqa: E402

PACKAGE = HERE.parents[1] / "src" / "assay" / "diagnosis"
VERDICTS = ("intact", "covariate-drift", "concept-drift", "data-fault", "model-tampering", "backdoor")
ATTACKS = ("model-tampering", "backdoor")
NEED_LABELS = ("surrogate", "stamp", "labels", "concept", "uniformity", "retraining")
# What is withheld, by name. Facts are withheld with replay, so the statistics have to do without.
MASKS = {
    "all": (),
    "no known-good copy": ("replay", "stamp"),
    "no labels": (*NEED_LABELS, "onset"),
    "no labels, no copy": (*NEED_LABELS, "replay", "onset"),
    "no copy, no reference labels": ("replay", "stamp", "surrogate"),
}
WEIGHT = {
    "all": 1.0,
    "no known-good copy": 1.5,
    "no labels": 0.4,
    "no labels, no copy": 0.3,
    "no copy, no reference labels": 0.3,
}
STRENGTH = 0.05  # inverse of the ridge penalty, per unit of weight


def gather(name: str, dataset: str, family: str, seed: int) -> dict[str, object]:
    """One scenario: its evidence as plain numbers."""
    case, _ = make(name, dataset, family, seed)
    start = time.perf_counter()
    evidence = gather_all(case)
    return {
        "scenario": name,
        "dataset": dataset,
        "family": family,
        "seed": seed,
        "seconds": time.perf_counter() - start,
        "evidence": [
            {
                "name": e.name,
                "value": e.value,
                "numbers": dict(e.numbers),
                "missing": e.missing,
                "decides": e.decides,
                "notes": {k: v for k, v in e.notes.items() if k in ("scope", "silent")},
            }
            for e in evidence
        ],
    }


def collect(seeds: int, jobs: int, cache: Path | None) -> list[dict]:
    """All scenarios, read from the cache where it holds them."""
    done: list[dict] = []
    if cache is not None and cache.exists():
        done = [json.loads(line) for line in cache.read_text().splitlines()]
    have = {(d["scenario"], d["dataset"], d["family"], d["seed"]) for d in done}
    wanted = [
        (name, dataset, family, seed)
        for seed in range(seeds)
        for dataset in DATASETS
        for name in SCENARIOS
        for family in FAMILIES
    ]
    rest = [job for job in wanted if job not in have]
    for record in Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(gather)(*job) for job in rest):
        done.append(record)
        if cache is not None:
            with cache.open("a") as file:
                file.write(json.dumps(record) + "\n")
    return [d for d in done if (d["scenario"], d["dataset"], d["family"], d["seed"]) in set(wanted)]


def masked(record: dict, mask: str) -> tuple[Evidence, ...]:
    """The evidence with some withheld; onset is dated by inputs without labels, which is left out here."""
    items = []
    for e in record["evidence"]:
        if e["name"] in MASKS[mask]:
            items.append(Evidence(e["name"], missing="withheld"))
            continue
        numbers = e["numbers"]
        if "no labels" in mask:
            numbers = {k: v for k, v in numbers.items() if not k.startswith("gain")}
        items.append(
            Evidence(
                e["name"], e["value"], numbers=numbers, missing=e["missing"], decides=e["decides"], notes=e["notes"]
            )
        )
    return tuple(items)


def truth(record: dict) -> str:
    """The cause a record is fitted as: the first that counts as right."""
    return SCENARIOS[record["scenario"]][1][0]


def rights(record: dict) -> set[str]:
    """All verdicts that count as right; drift whose fall is under the tolerance may be called ``intact`` too."""
    right = set(SCENARIOS[record["scenario"]][1])
    numbers = {e["name"]: e["numbers"] for e in record["evidence"]}
    if numbers["concept"].get("fall", 1.0) < 0.02 and not right & set(ATTACKS) and "data-fault" not in right:
        right.add("intact")
    return right


def fit(records: list[dict], measures: tuple[str, ...], made: dict[str, object]) -> Weights:
    """Multinomial logistic regression, ridge, every cause and every data set with the same total weight."""
    from sklearn.linear_model import LogisticRegression

    raw, labels, weight = [], [], []
    share = Counter((truth(r), r["dataset"]) for r in records)
    for record in records:
        for mask in MASKS:
            evidence = masked(record, mask)
            if any(e.decides for e in evidence):
                continue  # a fact decides alone: nothing to learn from it
            found = {f"{e.name}.{k}": v for e in evidence for k, v in e.numbers.items()}
            raw.append([found.get(m, np.nan) for m in measures])
            labels.append(VERDICTS.index(truth(record)))
            weight.append(WEIGHT[mask] * 100 / share[truth(record), record["dataset"]])
    x, y = np.array(raw, dtype=float), np.array(labels)
    calm = np.array([VERDICTS[i] == "intact" for i in y])
    seen = np.where(np.isnan(x[calm]).all(axis=0), 0.0, x[calm])  # a measure no calm case has: 0 is its middle
    middle = np.nanmedian(seen, axis=0)
    middle[[m.endswith("agrees") for m in measures]] = 0.0
    spread = np.nanpercentile(np.abs(x - middle), 85, axis=0)
    spread = np.where(np.isfinite(spread) & (spread > 1e-6), spread, 1.0)
    spread[[m.endswith("agrees") for m in measures]] = 0.4
    z = np.nan_to_num(np.clip((x - middle) / spread, -CAP, CAP))
    model = LogisticRegression(C=STRENGTH, max_iter=3000).fit(z, y, sample_weight=np.array(weight))
    coefficients, intercepts = np.zeros((len(VERDICTS), len(measures))), np.full(len(VERDICTS), -8.0)
    coefficients[model.classes_], intercepts[model.classes_] = model.coef_, model.intercept_
    return Weights(VERDICTS, measures, middle, spread, coefficients, intercepts, {}, made)


def score(records: list[dict], measures: tuple[str, ...], mask: str) -> list[tuple[dict, str, bool]]:
    """Every record's verdict by weights fitted on the other data sets."""
    answers = []
    for dataset in DATASETS:
        weights = fit([r for r in records if r["dataset"] != dataset], measures, {})
        for record in (r for r in records if r["dataset"] == dataset):
            diagnosis = decide(masked(record, mask), priors=DEFAULT_PRIORS, weights=weights)
            answers.append((record, diagnosis.verdict, diagnosis.escalate))
    return answers


def figures(answers: list[tuple[dict, str, bool]]) -> dict[str, float]:
    """Rates over the answers; `unknown` counts as no attack found and as no wrong name."""
    attack = [(r, v) for r, v, _ in answers if truth(r) in ATTACKS]
    other = [(r, v) for r, v, _ in answers if truth(r) not in ATTACKS]
    local = [(r, v) for r, v in other if r["scenario"] == "concept_local"]
    faults = [(r, v) for r, v in other if truth(r) == "data-fault"]
    return {
        "cases": len(answers),
        "right": sum(v in rights(r) for r, v, _ in answers) / len(answers),
        "wrong": sum(v not in rights(r) and v != "unknown" for r, v, _ in answers) / len(answers),
        "unknown": sum(v == "unknown" for _, v, _ in answers) / len(answers),
        "attacks_found": sum(v in ATTACKS for _, v in attack) / len(attack),
        "attacks_false": sum(v in ATTACKS for _, v in other) / len(other),
        "local_drift_called_attack": sum(v in ATTACKS for _, v in local) / max(1, len(local)),
        "attacks_escalated": sum(e for r, _, e in answers if truth(r) in ATTACKS) / len(attack),
        "others_escalated": sum(e for r, _, e in answers if truth(r) not in ATTACKS) / len(other),
        "data_faults_found": sum(v == "data-fault" for _, v in faults) / max(1, len(faults)),
    }


def matrix(answers: list[tuple[dict, str, bool]]) -> dict[str, dict[str, int]]:
    """Verdicts given, by scenario."""
    table: dict[str, dict[str, int]] = {name: {} for name in SCENARIOS}
    for record, verdict, _ in answers:
        table[record["scenario"]][verdict] = table[record["scenario"]].get(verdict, 0) + 1
    return table


def alone(records: list[dict], measures: tuple[str, ...]) -> dict[str, float]:
    """How often each piece of evidence names the cause by itself, leaving one data set out."""
    out = {}
    for name in dict.fromkeys(m.split(".")[0] for m in measures):
        own = tuple(m for m in measures if m.startswith(name + "."))
        hits = []
        for dataset in DATASETS:
            weights = fit([r for r in records if r["dataset"] != dataset], own, {})
            for record in (r for r in records if r["dataset"] == dataset):
                item = [e for e in masked(record, "all") if e.name == name]
                fact = next((e.decides for e in item if e.decides), None)
                shares = weights.probabilities(item, {})
                hits.append((fact or max(shares, key=shares.__getitem__)) in rights(record))
        out[name] = float(np.mean(hits))
    return out


def report(results: dict[str, dict[str, object]], single: dict[str, float], made: dict[str, object]) -> str:
    """RESULTS.md: ready to be included in the documentation."""
    lines = [
        "# How often the verdict is right",
        "",
        (
            f"{made['cases']} cases: {made['scenarios']} scenarios, {', '.join(DATASETS)}, "
            f"models: {', '.join(FAMILIES)}. "
            "Every figure is for the data set the weights were **not** fitted on."
        ),
        "",
        (
            "| evidence | right | wrong name | unknown | attacks found | falsely called attack "
            "| local drift called attack | security called: attacks | security called: others | data faults found |"
        ),
        "| --- " * 10 + "|",
    ]
    keys = (
        "right",
        "wrong",
        "unknown",
        "attacks_found",
        "attacks_false",
        "local_drift_called_attack",
        "attacks_escalated",
        "others_escalated",
        "data_faults_found",
    )
    lines += [f"| {mask} | " + " | ".join(f"{r['figures'][k]:.1%}" for k in keys) + " |" for mask, r in results.items()]
    for mask in ("all", "no known-good copy"):
        names = (*VERDICTS, "unknown")
        lines += [
            "",
            f"## Verdicts by scenario: {mask}",
            "",
            "| scenario | counts as right | " + " | ".join(names) + " |",
        ]
        lines += ["| --- " * (len(names) + 2) + "|"]
        for name, row in results[mask]["matrix"].items():
            lines.append(
                f"| {name} | {', '.join(SCENARIOS[name][1])} | " + " | ".join(str(row.get(v, "")) for v in names) + " |"
            )
    lines += [
        "",
        "## What each piece of evidence is worth alone",
        "",
        "| evidence | names the cause right |",
        "| --- | --- |",
    ]
    lines += [f"| {name} | {share:.0%} |" for name, share in sorted(single.items(), key=lambda item: -item[1])]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make, fit, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    records = collect(options.seeds, options.jobs, options.cache)
    measures = tuple(dict.fromkeys(f"{e['name']}.{k}" for r in records for e in r["evidence"] for k in e["numbers"]))
    measures = tuple(sorted(measures))
    made = {
        "by": "benchmarks/diagnosis/run.py",
        "cases": len(records),
        "scenarios": len(SCENARIOS),
        "datasets": list(DATASETS),
        "families": list(FAMILIES),
        "seeds": options.seeds,
        "ridge": STRENGTH,
    }
    results: dict[str, dict[str, object]] = {}
    for mask in MASKS:
        answers = score(records, measures, mask)
        results[mask] = {"figures": figures(answers), "matrix": matrix(answers)}
        print(mask, {k: round(v, 3) for k, v in results[mask]["figures"].items()})
        if mask in ("all", "no known-good copy"):
            for name, row in results[mask]["matrix"].items():
                print(f"   {name:24s} {row}")
    single = alone(records, measures)
    print("alone", {k: round(v, 3) for k, v in single.items()})
    print("seconds, median and most", np.median([r["seconds"] for r in records]), max(r["seconds"] for r in records))
    if options.write:
        final = fit(records, measures, made | {"left_out": {mask: r["figures"] for mask, r in results.items()}})
        data = final.to_json() | {"alone": {k: round(v, 4) for k, v in single.items()}}
        (PACKAGE / "weights.json").write_text(json.dumps(data, indent=1) + "\n")
        (HERE / "RESULTS.md").write_text(report(results, single, made))
        (HERE / "results.json").write_text(
            json.dumps({"made": made, "results": results, "alone": single}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
