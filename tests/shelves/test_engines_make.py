"""Every engine makes the same numbers of texts, vectors and queries, and those of a count by hand."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.engines.base import (
    MISSING,
    NOT_A_NUMBER,
    POSITIVE_INFINITY,
    UNREADABLE,
    Bins,
    CountQuery,
    Engine,
    Quantity,
    Question,
    Source,
    Values,
)
from assay.engines.made import (
    BUCKETS,
    TEXT_WORDS,
    UNIT,
    Along,
    Difference,
    DrawnToken,
    OfQuery,
    QueryWord,
    TextFigure,
    TextWord,
)
from assay.engines.shelf import ENGINES, find

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = (START, START + timedelta(days=1))
TEXTS = [
    "Hello world, hello!",
    "",
    None,
    "日本語のテキスト 123",
    "aaaa",
    "a\x00b\x85c\u2028d",
    "💥💥 e\u0301 x_1",
    "The quick BROWN fox 42\n\tjumps",
    "é" * 3000,
    "İstanbul ΑΒΓ straße ﬁ Жук",
    "สวัสดี नमस्ते مرحبا שלום 안녕 당신",
    "...!?",
    "x" * 1023 + "yz",
]
SEEN = "".join(f"{i * 2654435761 % 16:x}" for i in range(16384))


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.slow, pytest.mark.xdist_group("spark")] if name == "spark" else [])
        for name in sorted(ENGINES)
    ]
)
def engine(request: pytest.FixtureRequest) -> Engine:
    return find("spark local[2]" if request.param == "spark" else request.param)


def written(path: Path, columns: dict[str, object], rows: int) -> Source:
    when = pa.array([START + timedelta(seconds=i) for i in range(rows)], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"ts": when} | columns), path)
    return Source((str(path),))


def tokens(text: str) -> list[str]:
    """By the words of `DrawnToken`, for texts without odd signs inside the blocks."""
    lower = re.sub("[A-Z]", lambda letter: letter[0].lower(), text[:1024])
    alone = "\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\U00020000-\U0003ffff"
    joined = (
        "A-Za-zªµº\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u0dff\u0f00-\u0fff\u10a0-\u1fff\u2c00-\u2dff\u3130-\u319f"
        "\ua000-\ud7ff\ufb00-\ufdff\ufe70-\ufefe\U00010000-\U0001efff"
    )
    return re.findall(f"[{alone}]|[0-9{joined}]+", lower)


def by_hand(text: str, figure: TextWord) -> float:
    head, words = text[:1024], tokens(text)
    if figure == "variety":
        part = text[:256]
        return len(part) ** 2 / sum(n * n for n in Counter(part).values()) if part else 0.0
    if figure in {"length", "tokens"}:
        return float(len(text) if figure == "length" else len(words))
    if figure == "unseen":
        places = [int(hashlib.md5(word.encode()).hexdigest()[:4], 16) for word in words]  # noqa: S324 - no secret
        bits = f"{int(SEEN, 16):065536b}"
        return sum(bits[place] == "0" for place in places) / len(words) if words else 0.0
    found = {
        "letters": sum(len(re.sub("[0-9]", "", word)) for word in words),
        "digits": sum(c in "0123456789" for c in head),
        "spaces": sum(c in "\t\n\x0b\f\r " for c in head),
        "beyond-ascii": sum(ord(c) > 127 for c in head),
    }[figure]
    return found / len(head) if head else 0.0


def test_figures_of_texts_are_those_by_hand(engine: Engine, tmp_path: Path) -> None:
    # Columns called like our own names must not be taken for them.
    source = written(tmp_path / "t.parquet", {"made_e": TEXTS, "made0": [1.0] * len(TEXTS)}, len(TEXTS))
    asked = []
    wanted: dict[str, dict[tuple[int, ...], int]] = {}
    for figure in TEXT_WORDS:
        of = TextFigure("made_e", figure, SEEN if figure == "unseen" else "")
        values = [None if text is None else by_hand(text, figure) for text in TEXTS]
        edges = tuple(sorted({value for value in values if value is not None}))
        asked.append(Question(figure, (Bins(of, edges),)))
        wanted[figure] = dict(Counter((0, MISSING if value is None else edges.index(value)) for value in values))
    answers = engine.counts(source, CountQuery("ts", DAY, tuple(asked))).answers
    assert {figure: dict(answers[figure]) for figure in TEXT_WORDS} == wanted
    found = engine.profile(source, {"variety": TextFigure("made_e", "variety")}, quantiles=(1.0,))["variety"]
    assert (found.missing, found.most) == (1, max(by_hand(text, "variety") for text in TEXTS if text))


def test_a_drawn_token_is_one_of_the_text(engine: Engine, tmp_path: Path) -> None:
    source = written(tmp_path / "t.parquet", {"e": TEXTS}, len(TEXTS))
    listed = (*BUCKETS, "none")
    answers = engine.counts(
        source, CountQuery("ts", DAY, (Question("e", (Values(DrawnToken("e"), listed),)),))
    ).answers["e"]
    wanted: Counter[tuple[int, ...]] = Counter()
    for text in TEXTS:
        words = tokens(text or "")
        digest = [hashlib.md5(word.encode()).hexdigest() for word in (text or "", *words)]  # noqa: S324 - no secret
        drawn = digest[1 + int(digest[0][:7], 16) % len(words)][0] if words else "none"
        wanted[(0, MISSING if text is None else listed.index(drawn))] += 1
    assert answers == dict(wanted)


def test_lengths_along_directions_are_exact(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    good = [rng.normal(size=33).tolist() for _ in range(300)]
    odd: list[object] = [None, [1.0], [], [math.nan] + [0.0] * 32, [None] + [0.0] * 32, [-math.inf] + [0.0] * 32]
    far: list[object] = [[1e300] * 33]
    wide = pa.array([*good, *odd, *far], pa.list_(pa.float64()))
    source = written(tmp_path / "t.parquet", {"v": wide}, len(wide))
    way = tuple(int(w) for w in rng.integers(-300, 300, 33))
    scale = 4096.0
    steps = np.clip(np.floor(np.clip(np.asarray(wide.to_pylist()[:300] + far) * scale, -1e9, 1e9)), -(2**19), 2**19)
    reach = steps @ np.asarray(way, np.float64) / (scale * UNIT)
    norm = np.sqrt((steps**2).sum(1)) / scale
    for of, values in ((Along("v", way, scale), reach), (Along("v", (0,) * 33, scale), norm)):
        edges = tuple(sorted(set(values.tolist())))
        answers = engine.counts(source, CountQuery("ts", DAY, (Question("v", (Bins(of, edges),)),))).answers["v"]
        wanted = Counter((0, edges.index(value)) for value in values.tolist())
        wanted |= Counter({(0, MISSING): 1, (0, UNREADABLE): 2, (0, NOT_A_NUMBER): 2, (0, POSITIVE_INFINITY): 1})
        assert answers == dict(wanted)
    corner = Question("v", (Bins(Along("v", way, scale), (0.0,)), Bins(Along("v", (0,) * 33, scale), (6.0,))))
    sides = Counter((0, int(x > 0), int(length > 6)) for x, length in zip(reach.tolist(), norm.tolist(), strict=True))
    found = engine.counts(source, CountQuery("ts", DAY, (corner,))).answers["v"]
    assert {codes: rows for codes, rows in found.items() if min(codes) >= 0} == sides
    assert len(sides) == 4


def test_a_column_of_another_kind_has_no_figures(engine: Engine, tmp_path: Path) -> None:
    source = written(tmp_path / "t.parquet", {"n": [1, 2, None], "words": ["a", "b", "c"]}, 3)
    codes = (
        Question("text", (Bins(TextFigure("n", "length"), (1.0,)),)),
        Question("drawn", (Values(DrawnToken("n"), ("0",)),)),
        Question("vector", (Bins(Along("words", (1, 2), 1.0), (1.0,)),)),
    )
    answers = engine.counts(source, CountQuery("ts", DAY, codes)).answers
    assert answers["text"] == {(0, UNREADABLE): 2, (0, MISSING): 1}
    assert answers["drawn"] == {(0, MISSING): 3}
    assert answers["vector"] == {(0, UNREADABLE): 3}


def test_queries_are_judged_once_each(engine: Engine, tmp_path: Path) -> None:
    hours = timedelta(hours=1)
    rows = [  # query, score, label, hours until the label
        ("a", 0.9, 0, 1),
        ("a", 0.8, 3, 2),
        ("a", 0.1, 1, 30),
        ("b", 0.5, 1, 1),  # two of equal score: both count as second
        ("b", 0.5, 0, 1),
        ("c", 0.5, 0, 1),  # nothing relevant
        ("d", 0.5, None, None),  # no label at all
        (None, 0.5, 1, 1),
        ("e", math.nan, 1, 1),  # relevant, but not ranked
        ("e", 0.2, None, None),
    ]
    came = pa.array([None if h is None else START + h * hours for *_, h in rows], pa.timestamp("us", "UTC"))
    columns = {"q": [r[0] for r in rows], "s": [r[1] for r in rows], "y": [r[2] for r in rows], "came": came}
    source = written(tmp_path / "t.parquet", columns, len(rows))
    gain = {0: 0, 1: 1, 3: 7}
    discount = [round(2**20 / math.log2(place + 1)) for place in range(1, 11)]
    of_a = (gain[3] * discount[1] + gain[1] * discount[2]) / (gain[3] * discount[0] + gain[1] * discount[1])
    edges: dict[QueryWord, tuple[float, ...]] = {
        "mrr": (0.0, 0.5, 1.0),
        "ndcg": (0.0, discount[1] / discount[0], of_a, 1.0),
    }
    asked = tuple(
        Question(word, (Bins(OfQuery("q", "s", "y", word, "ts", "came"), inner),), "label")
        for word, inner in edges.items()
    )
    cuts = (START, START + 24 * hours, START + 48 * hours)
    answers = engine.counts(source, CountQuery("ts", cuts, asked, label="y", label_time="came")).answers
    told = {word: {codes: n for codes, n in answers[word].items() if codes[1] >= 0} for word in edges}
    # Query a is told when its last label came, on the second day.
    assert told["mrr"] == {(0, 0): 2, (0, 1): 1, (1, 1): 1}
    wanted = {(0, 0): 1, (0, 1): 1, (1, edges["ndcg"].index(of_a)): 1}
    assert told["ndcg"] == wanted


def test_a_difference_has_a_sign(engine: Engine, tmp_path: Path) -> None:
    source = written(tmp_path / "t.parquet", {"p": [1.0, 5.0, None], "y": ["3", "4", "1"]}, 3)
    of: Quantity = Difference("p", "y")
    answers = engine.counts(source, CountQuery("ts", DAY, (Question("d", (Bins(of, (-1.0, 0.0)),)),))).answers
    assert answers["d"] == {(0, 0): 1, (0, 2): 1, (0, MISSING): 1}
    assert engine.profile(source, {"d": of})["d"].least == -2.0


def test_what_cannot_be_asked_is_refused() -> None:
    for wrong in (
        lambda: TextFigure("t", "unseen"),
        lambda: TextFigure("t", "length", SEEN),
        lambda: TextFigure("t", "unseen", "zz" * 8192),
        lambda: Along("v", (), 1.0),
        lambda: Along("v", (1,), 3.0),
        lambda: Along("v", (5000,), 1.0),
    ):
        with pytest.raises(ValueError, match=r"a |nothing"):
            wrong()
