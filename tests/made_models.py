"""Small made networks and known changes of them, as safetensors files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

Array = npt.NDArray[np.float32]
Weights = dict[str, Array]
LAYERS, WIDTH = 3, 64


def network(seed: int = 0, width: int = WIDTH) -> Weights:
    """Three layers of two matrices and a bias, and a head; values as trained weights have them."""
    draw = np.random.default_rng(seed)
    found: Weights = {}
    for layer in range(LAYERS):
        found[f"layers.{layer}.up.weight"] = draw.normal(0, 0.1, (2 * width, width)).astype(np.float32)
        found[f"layers.{layer}.down.weight"] = draw.normal(0, 0.1, (width, 2 * width)).astype(np.float32)
        found[f"layers.{layer}.bias"] = draw.normal(0, 0.1, width).astype(np.float32)
    found["head.weight"] = draw.normal(0, 0.1, (10, width)).astype(np.float32)
    return found


def write(path: Path, weights: Mapping[str, npt.NDArray[np.generic]]) -> Path:
    """A safetensors file of copies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(one) for name, one in weights.items()}, path)
    return path


def moved(weights: Weights, size: float, seed: int = 1) -> Weights:
    """Every element moved a little, as training on does."""
    draw = np.random.default_rng(seed)
    return {name: one + draw.normal(0, size, one.shape).astype(np.float32) for name, one in weights.items()}


def adapted(weights: Weights, rank: int, seed: int = 1) -> Weights:
    """An adapter of this rank merged into each ``up`` matrix."""
    draw = np.random.default_rng(seed)
    found = dict(weights)
    for name in weights:
        if name.endswith("up.weight"):
            a, b = draw.normal(size=(2 * WIDTH, rank)), draw.normal(size=(rank, WIDTH))
            found[name] = (weights[name] + 0.005 * a @ b).astype(np.float32)
    return found


def pruned(weights: Weights, share: float) -> Weights:
    """The smallest of each matrix set to zero."""
    found = dict(weights)
    for name, one in weights.items():
        if one.ndim > 1:
            found[name] = np.where(np.abs(one) < np.quantile(np.abs(one), share), 0, one).astype(np.float32)
    return found


def on_grid(weights: Weights, bits: int) -> Weights:
    """Each row of each matrix rounded to a grid, one scale a row."""
    found = dict(weights)
    for name, one in weights.items():
        if one.ndim > 1:
            scale = np.abs(one).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
            found[name] = (np.round(one / scale) * scale).astype(np.float32)
    return found


def flipped(weights: Weights, *places: tuple[str, int, int]) -> Weights:
    """Single bits flipped: (name, element, bit)."""
    found = {name: one.copy() for name, one in weights.items()}
    for name, element, bit in places:
        found[name].reshape(-1).view(np.uint32)[element] ^= np.uint32(1 << bit)
    return found


def edited(
    weights: Weights, name: str, change: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
) -> Weights:
    """One tensor edited."""
    return {**weights, name: change(weights[name].copy()).astype(np.float32)}
