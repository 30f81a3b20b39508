from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import made_models as made

from assay.artifacts.diff.change import Measures, Place, Status, TensorChange
from assay.artifacts.diff.diff import Source, diff
from assay.artifacts.diff.kinds import read_change
from assay.artifacts.diff.reading import Kind, Reading

BASE = made.network()
WIDE = 2 * made.WIDTH * made.WIDTH


def read(folder: Path, old: made.Weights, new: made.Weights) -> Reading:
    before, after = made.write(folder / "old.safetensors", old), made.write(folder / "new.safetensors", new)
    return diff(Source(before), Source(after)).reading


def noisy(one: np.ndarray) -> np.ndarray:
    return one + np.random.default_rng(3).normal(0, 0.01, one.shape)


def stuffed(one: np.ndarray, bits: int = 16) -> np.ndarray:
    words = one.view(np.uint32) ^ np.random.default_rng(2).integers(0, bits, one.shape).astype(np.uint32)
    return words.view(np.float32)


def stuffed_here_and_there(one: np.ndarray) -> np.ndarray:
    return np.where(np.arange(one.size).reshape(one.shape) % 50 == 0, stuffed(one, 2), one)


def scaled(one: np.ndarray) -> np.ndarray:
    one[:4] *= 1.37
    return one


CASES: dict[str, tuple[made.Weights, Kind, str]] = {
    "a copy": (BASE, Kind.IDENTICAL, "10 tensors"),
    "moved a little": (made.moved(BASE, 0.001), Kind.FINE_TUNED, "10 of 10 tensors moved"),
    "moved much": (made.moved(BASE, 0.05), Kind.FINE_TUNED, "10 of 10"),
    "another seed": (made.network(seed=9), Kind.RETRAINED, "nothing of the old weights is left"),
    "another width": (made.network(width=48), Kind.ARCHITECTURE, "of another shape"),
    **{f"adapter of rank {rank}": (made.adapted(BASE, rank), Kind.LOW_RANK, f"rank {rank} only") for rank in (1, 4, 8)},
    **{f"{share:.0%} pruned": (made.pruned(BASE, share), Kind.PRUNED, "the smallest") for share in (0.3, 0.9)},
    "pruned at random": (
        {n: np.where(np.random.default_rng(1).random(o.shape) < 0.3, 0, o).astype("f4") for n, o in BASE.items()},
        Kind.PRUNED,
        "not only the smallest",
    ),
    "pruned, then trained on": (
        {n: np.where(o == 0, 0, o + np.float32(1e-3)) for n, o in made.pruned(BASE, 0.5).items()},
        Kind.PRUNED,
        "others moved too",
    ),
    **{f"on a grid of {bits} bits": (made.on_grid(BASE, bits), Kind.QUANTISED, "rounded") for bits in (8, 4, 3)},
    "values of 16 bits": ({n: o.astype("f2").astype("f4") for n, o in BASE.items()}, Kind.QUANTISED, "values of F16"),
    "one bit of an exponent": (
        made.flipped(BASE, ("head.weight", 7, 29)),
        Kind.ROT,
        "in 1 element of head.weight, 1 of",
    ),
    "three bits": (
        made.flipped(BASE, ("head.weight", 7, 3), ("layers.0.bias", 1, 31), ("layers.1.up.weight", 99, 12)),
        Kind.ROT,
        "3 bits differ in 3 elements",
    ),
    "data hidden in low bits": (
        {name: stuffed(one) for name, one in BASE.items()},
        Kind.FINE_TUNED,
        "only lowest bits differ: data hidden in weights looks like this",
    ),
    "bits hidden in one matrix": (
        made.edited(BASE, "layers.0.up.weight", stuffed_here_and_there),
        Kind.ONE_TENSOR,
        "only lowest bits differ",
    ),
    "a bit in every eighth element": (
        made.flipped(BASE, *(("layers.0.up.weight", at, at * 7 % 31) for at in range(0, WIDE, 8))),
        Kind.ROT,
        "in 1024 elements",
    ),
    "noise in one tensor": (made.edited(BASE, "layers.1.up.weight", noisy), Kind.ONE_TENSOR, "layers.1.up.weight"),
    "rows of one tensor": (made.edited(BASE, "head.weight", scaled), Kind.ONE_TENSOR, "in 4 of 10 rows"),
    "head and a bias": (
        {**made.edited(BASE, "head.weight", noisy), "layers.2.bias": BASE["layers.2.bias"] + np.float32(0.01)},
        Kind.FINE_TUNED,
        "2 of 10 tensors moved (head.weight, layers.2.bias)",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_a_made_change_is_read_as_what_it_is(tmp_path: Path, what: str) -> None:
    new, kind, words = CASES[what]
    found = read(tmp_path, BASE, new)
    assert found.kind is kind, found.reason
    assert words in found.reason
    assert found.differs is (kind is not Kind.IDENTICAL)


def test_an_adapter_merged_into_bfloat16_is_seen_through_its_rounding(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    for name, weights in {"old": BASE, "new": made.adapted(BASE, 2)}.items():
        tensors = {key: torch.from_numpy(one).to(torch.bfloat16) for key, one in weights.items()}
        if name == "new":  # merged: the rounded old weights plus the edit, rounded again
            edit = {key: torch.from_numpy(weights[key] - BASE[key]) for key in weights}
            tensors = {
                key: (torch.from_numpy(BASE[key]).to(torch.bfloat16).float() + edit[key]).to(torch.bfloat16)
                for key in weights
            }
        save_file(tensors, tmp_path / f"{name}.safetensors")
    found = diff(Source(tmp_path / "old.safetensors"), Source(tmp_path / "new.safetensors"))
    assert found.reading.kind is Kind.LOW_RANK, found.reading.reason
    assert "rank 2 only" in found.reading.reason


def test_another_element_type_with_the_same_values_is_quantised(tmp_path: Path) -> None:
    found = read(tmp_path, BASE, {name: one.astype(np.float16) for name, one in BASE.items()})
    assert found.kind is Kind.QUANTISED
    assert "F32 to F16" in found.reason


def test_the_same_values_in_a_wider_type_are_no_difference(tmp_path: Path) -> None:
    old = made.write(tmp_path / "old.safetensors", BASE)
    new = made.write(tmp_path / "new.safetensors", {name: one.astype(np.float64) for name, one in BASE.items()})
    found = diff(Source(old), Source(new)).reading
    assert (found.kind, found.differs) == (Kind.CONTAINER, False)
    assert "F32 to F64" in found.reason


def test_counters_are_no_place_to_hide_data() -> None:
    place = Place("m", "steps", "I64", (64,))
    moved = Measures(exact=True, elements=64, changed=64, bits=128, highest_bit=3, l2_old=1.0, cosine=0.9)
    found = read_change([TensorChange(Status.CHANGED, place, place, moved), SAME], [])
    assert "hidden" not in found.reason


def test_a_head_for_other_classes_on_a_trained_body_is_said_beside_the_reading(tmp_path: Path) -> None:
    new = {**made.moved(BASE, 0.001), "head.weight": np.zeros((12, made.WIDTH), np.float32)}
    found = read(tmp_path, BASE, new)
    assert found.kind is Kind.FINE_TUNED
    assert "1 tensor has no counterpart" in found.reason


def test_a_tensor_more_and_nothing_else_is_another_architecture(tmp_path: Path) -> None:
    found = read(tmp_path, BASE, {**BASE, "extra": np.ones(3, np.float32)})
    assert found.kind is Kind.ARCHITECTURE
    assert "1 tensor added" in found.reason
    assert "unchanged" in found.reason


def change(**numbers: object) -> TensorChange:
    place = Place("m", "w", "F32", (100, 100))
    return TensorChange(Status.CHANGED, place, place, Measures(exact=True, elements=10_000, **numbers))  # type: ignore[arg-type]


SAME = TensorChange(Status.SAME, Place("m", "v", "F32", (9,)), Place("m", "v", "F32", (9,)))


def test_many_rewritten_elements_are_never_bit_rot() -> None:
    # 16 bits an element is what chance gives; one bit in each of too many elements is a deliberate pattern.
    for numbers in ({"changed": 5, "bits": 80}, {"changed": 5_000, "bits": 5_000, "single_bits": 5_000}):
        assert read_change([change(**numbers), SAME], []).kind is Kind.ONE_TENSOR


def test_an_8_bit_element_that_differs_in_one_bit_may_be_an_edit_and_is_said_unsure() -> None:
    place = Place("m", "w", "I8", (100, 100))
    one = TensorChange(
        Status.CHANGED, place, place, Measures(exact=True, elements=10_000, changed=1, bits=1, single_bits=1)
    )
    found = read_change([one, SAME], [])
    assert (found.kind, found.confidence.value) == (Kind.ROT, "unsure")


def test_packed_elements_are_never_read_as_more_than_bytes() -> None:
    place = Place("m", "w", "Q4_K", (256,))
    for changed, bits, kind in ((144, 600, Kind.ONE_TENSOR), (1, 1, Kind.ROT)):
        one = TensorChange(
            Status.CHANGED, place, place, Measures(exact=False, elements=144, changed=changed, bits=bits)
        )
        assert read_change([one], []).kind is kind
    two = TensorChange(Status.CHANGED, place, place, Measures(exact=False, elements=144, changed=144, bits=600))
    assert read_change([two, two], []).kind is Kind.UNCLEAR


def test_a_packed_type_in_place_of_another_is_quantised_but_unsure() -> None:
    old, new = Place("m", "w", "F16", (256,)), Place("m", "w", "Q4_K", (256,))
    found = read_change(
        [TensorChange(Status.RETYPED, old, new, Measures(exact=False, elements=512, changed=500, bits=9))], []
    )
    assert (found.kind, found.confidence.value) == (Kind.QUANTISED, "unsure")
    assert "compared as bytes" in found.reason


def test_a_change_that_is_all_infinite_has_no_kind() -> None:
    both = [change(changed=9_000, bits=90_000, non_finite=10_000), change(changed=9_000, bits=90_000)]
    assert read_change(both, []).kind is Kind.UNCLEAR


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ([], Kind.IDENTICAL),
        (["container"], Kind.CONTAINER),
        (["changed"], Kind.BESIDE),
        (["container", "beside the tensors"], Kind.BESIDE),
    ],
)
def test_without_another_tensor_the_other_bytes_decide(files: list[str], kind: Kind) -> None:
    assert read_change([SAME], files).kind is kind
    assert read_change([], files).kind is kind
