from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from assay.artifacts.diff.change import Measures
from assay.artifacts.diff.decode import LAYOUTS, masks, step, values
from assay.artifacts.diff.rank import SKETCH_TRUSTED, Spread
from assay.artifacts.diff.tensor import BLOCK_ELEMENTS, measure
from assay.artifacts.diff.weights import blocks, same_elements
from assay.errors import FormatError


def pieces(array: np.ndarray, size: int = 1000) -> Iterator[bytes]:
    raw = np.ascontiguousarray(array).tobytes()
    yield from (raw[at : at + size] for at in range(0, len(raw), size))


def measured(old: np.ndarray, new: np.ndarray, dtype: str = "F32", new_dtype: str = "") -> Measures:
    return measure(pieces(old), pieces(new, 777), dtype, new_dtype or dtype, old.shape)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_the_numbers_are_those_of_numpy_over_the_whole_tensors() -> None:
    old = normal(700, 900)  # more than one block
    assert old.size > BLOCK_ELEMENTS
    new = old + 0.01 * normal(700, 900, seed=1)
    new[3, 4:9] = 0
    found = measured(old, new)
    difference = new.astype(float) - old.astype(float)
    assert found.l2 == pytest.approx(np.linalg.norm(difference))
    assert found.max_change == np.abs(difference).max()
    along = np.sum(old.astype(float) * new)
    assert found.cosine == pytest.approx(along / np.linalg.norm(old) / np.linalg.norm(new), rel=1e-6)
    assert found.correlation == pytest.approx(np.corrcoef(old.ravel(), new.ravel())[0, 1], rel=1e-6)
    assert found.changed == np.count_nonzero(old.view("u4") != new.view("u4"))
    assert found.bits == np.bitwise_count(old.view("u4") ^ new.view("u4")).sum()
    assert (found.zeros_old, found.zeros_new, found.zeroed) == (0, 5, 5)
    assert found.largest_zeroed == np.abs(old[3, 4:9]).max()
    assert found.smallest_kept == np.abs(new[new != 0]).min()
    assert (found.rows, found.columns) == (700, 900)
    assert found.relative == pytest.approx(np.linalg.norm(difference) / np.linalg.norm(old), rel=1e-6)


def test_a_flipped_bit_is_named_with_its_element_and_values() -> None:
    old = normal(30, 20)
    new = old.copy()
    new.view("u4")[7, 11] ^= 1 << 31
    found = measured(old, new)
    (one,) = found.first
    assert (one.index, one.bits, one.old, one.new) == ((7, 11), (31,), old[7, 11], -old[7, 11])
    assert (found.bits, found.sign_bits, found.exponent_bits, found.single_bits) == (1, 1, 0, 1)


def test_a_flip_to_infinity_leaves_the_other_numbers_alone_and_json_sound() -> None:
    old = normal(8, 8)
    new = old.copy()
    new[0, 0], new[1, 1] = np.inf, np.nan
    found = measured(old, new)
    assert (found.changed, found.non_finite, found.l2) == (2, 2, 0.0)
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["first"][0]["new"] is None


def test_doubles_near_their_limit_overflow_to_null_not_to_a_fault() -> None:
    old = np.full((4, 4), 1e300)
    found = measured(old, -old, "F64")
    assert found.cosine is None
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["l2"] is None


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64", "I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "BOOL"])
def test_values_of_numpy_types_are_exact(dtype: str) -> None:
    kind = {"F": "<f", "I": "<i", "U": "<u", "B": "<u"}[dtype[0]] + str(LAYOUTS[dtype].width)
    raw = np.array([0, 1, 1, 0, 7, 100]).astype(kind)
    assert values(raw.tobytes(), dtype).tolist() == [0, 1, 1, 0, 7, 100]


def test_bfloat16_is_the_upper_half_of_a_single() -> None:
    numbers = [0.0, 1.0, -2.5, 3.140625, 1e-30, float("inf")]
    raw = b"".join(struct.pack("<f", one)[2:] for one in numbers)
    whole = [struct.unpack("<f", b"\0\0" + raw[at : at + 2])[0] for at in range(0, 12, 2)]
    assert values(raw, "BF16").tolist() == whole


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("F8_E4M3", "float8_e4m3fn"),
        ("F8_E5M2", "float8_e5m2"),
        ("F8_E4M3FNUZ", "float8_e4m3fnuz"),
        ("F8_E5M2FNUZ", "float8_e5m2fnuz"),
        ("F8_E8M0", "float8_e8m0fnu"),
    ],
)
def test_every_code_of_an_8_bit_float_has_the_value_that_torch_gives_it(dtype: str, name: str) -> None:
    import torch

    codes = np.arange(256, dtype=np.uint8)
    wanted = torch.from_numpy(codes).view(getattr(torch, name)).to(torch.float64).numpy()
    np.testing.assert_array_equal(values(codes.tobytes(), dtype), wanted)


def test_a_step_is_the_distance_to_the_next_number() -> None:
    some = np.array([1.0, 1.5, -3.7, 1e-3, 6.2e-5, 1e-7])
    np.testing.assert_array_equal(step(some, "F16"), np.spacing(np.abs(some).astype(np.float16)).astype(float))
    np.testing.assert_array_equal(step(some[:4], "F32"), np.spacing(np.abs(some[:4]).astype(np.float32)).astype(float))
    assert step(np.array([5.0]), "I8").tolist() == [1.0]


def test_masks_part_the_word_into_sign_exponent_and_fraction() -> None:
    for dtype, layout in LAYOUTS.items():
        sign, exponent, fraction = masks(dtype)
        assert sign ^ exponent ^ fraction == 2 ** (8 * layout.width) - 1
        assert sign & exponent == sign & fraction == exponent & fraction == 0
        assert exponent.bit_count() == layout.exponent


def test_complex_numbers_are_pairs() -> None:
    old = np.array([1 + 1j, 2 - 2j], dtype=np.complex64)
    new = np.array([1 + 1j, 2 - 3j], dtype=np.complex64)
    found = measured(old, new, "C64")
    assert (found.elements, found.changed, found.max_change) == (4, 1, 1.0)


def test_packed_elements_are_compared_as_bytes() -> None:
    old = np.arange(100, dtype=np.uint8)
    new = old.copy()
    new[5] ^= 0b11
    found = measured(old, new, "Q4_K")
    assert (found.exact, found.elements, found.changed, found.bits, found.relative) == (False, 100, 1, 2, None)


def test_a_type_of_another_width_counts_the_missing_bytes() -> None:
    found = measured(np.zeros(64, np.uint8), np.zeros(18, np.uint8), "F16X", "Q4_K")
    assert (found.elements, found.changed) == (64, 46)


def test_another_element_type_is_compared_by_value() -> None:
    old = normal(40, 30)
    new = old.astype(np.float16)
    found = measured(old, new, "F32", "F16")
    assert found.bits == 0
    assert found.changed == np.count_nonzero(old != new.astype(np.float32))
    assert 0 < found.max_change < 2e-3
    assert (found.narrow_old, found.narrow_new) == ("", "")


def test_a_tensor_that_ends_early_is_refused() -> None:
    old = normal(10, 10)
    with pytest.raises(FormatError, match="100"):
        measure(pieces(old[:5]), pieces(old[:5]), "F32", "F32", (10, 10))
    with pytest.raises(FormatError, match="ends early"):
        measure(pieces(old), pieces(old[:5]), "F32", "F32", (10, 10))


@pytest.mark.parametrize("shape", [(), (0,), (0, 4), (4, 0), (1, 5), (5, 1), (1, 1), (2, 3, 4)])
def test_odd_shapes_are_measured(shape: tuple[int, ...]) -> None:
    old = np.ones(shape, np.float32)
    found = measured(old, 2 * old)
    assert found.elements == found.changed == old.size
    assert found.l2 == pytest.approx(math.sqrt(old.size))


def test_distinct_values_and_narrow_types_are_counted() -> None:
    old = normal(50, 60)
    new = np.round(old * 4) / 4
    found = measured(old, new)
    assert found.distinct_old == 3000
    assert found.distinct_new == np.unique(new.view("u4")).size
    assert found.narrow_new == "F16"
    assert found.levels < 0.5
    many = normal(300, 300)
    assert measured(many, many + 1).distinct_old is None


def edit(rows: int, columns: int, rank: int) -> np.ndarray:
    draw = np.random.default_rng(rank)
    return draw.normal(size=(rows, rank)) @ draw.normal(size=(rank, columns))


@pytest.mark.parametrize(("rows", "columns"), [(300, 200), (200, 900), (1600, 1500)])  # the last by a sketch
@pytest.mark.parametrize("rank", [1, 8, 40])
def test_the_rank_of_a_difference_is_exact(rows: int, columns: int, rank: int) -> None:
    spread = Spread(rows, columns)
    whole = edit(rows, columns, rank)
    for part in np.array_split(whole, 3):
        spread.take(part)
    found = spread.rank()
    assert found.exact == rank
    assert found.energy is not None
    assert found.energy <= rank


def test_a_full_difference_has_its_full_rank_or_more_than_the_sketch_can_tell() -> None:
    small = Spread(60, 50)
    small.take(np.random.default_rng(0).normal(size=(60, 50)))
    assert small.rank().exact == 50
    large = Spread(1600, 1500)
    for seed in range(4):
        large.take(np.random.default_rng(seed).normal(size=(600, 1500)))
        assert large.full
    found = large.rank()
    assert (found.exact, found.energy, found.beyond) == (None, None, SKETCH_TRUSTED)


def test_a_difference_that_rounding_drowns_has_no_rank() -> None:
    spread = Spread(60, 50)
    noise = np.random.default_rng(0).normal(size=(60, 50))
    spread.take(noise, float((noise**2).sum()))
    found = spread.rank()
    assert (found.exact, found.energy, found.beyond) == (None, None, 0)


def test_nothing_changed_has_rank_zero_and_infinity_none() -> None:
    still, wild = Spread(5, 5), Spread(5, 5)
    still.take(np.zeros((5, 5)))
    assert still.rank().exact == 0
    with np.errstate(over="ignore"):
        wild.take(np.full((5, 5), 1e200))
        assert wild.rank().exact is None


def test_streams_are_equal_however_they_are_cut() -> None:
    raw = bytes(range(256)) * 10
    cut = [raw[at : at + 100] for at in range(0, len(raw), 100)]
    assert same_elements(iter([raw]), iter(cut))
    assert not same_elements(iter([raw]), iter(cut[:-1]))
    assert not same_elements(iter([raw[:-1]]), iter(cut))
    assert not same_elements(iter([raw]), iter([*cut[:-1], bytes(60)]))
    assert [len(one) for one in blocks(iter(cut), 999)] == [999, 999, 562]
    assert b"".join(blocks(iter(cut), 999)) == raw
