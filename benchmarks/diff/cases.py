"""Made changes of small trained networks, each with its true kind.

A small MLP and a small CNN are trained on the digits of scikit-learn; each case then changes a copy
the way it happens in practice. Weights are numpy arrays by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import nn

State = dict[str, np.ndarray]
NETWORKS = ("mlp", "cnn")


@dataclass(frozen=True, slots=True)
class Case:
    """One pair of models.

    Attributes:
        truth: The kind it is.
        what: How it was made.
        old: Weights before.
        new: Weights after.
    """

    truth: str
    what: str
    old: State
    new: State


def network(kind: str, width: int) -> nn.Sequential:
    """A network for 8 x 8 pictures of ten digits."""
    if kind == "mlp":
        return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, width // 4, 3, padding=1),
        nn.BatchNorm2d(width // 4),
        nn.ReLU(),
        nn.Conv2d(width // 4, width // 2, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(width // 2 * 16, width),
        nn.ReLU(),
        nn.Linear(width, 10),
    )


def rows(part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures and digits: ``first`` two thirds, ``later`` third."""
    pictures, digits = load_digits(return_X_y=True)
    x, y = torch.tensor(pictures / 16, dtype=torch.float32), torch.tensor(digits)
    cut = len(y) * 2 // 3
    return (x[:cut], y[:cut]) if part == "first" else (x[cut:], y[cut:])


def train(
    net: nn.Module, part: str, *, epochs: int, rate: float, seed: int, head: bool = False, sgd: bool = False
) -> nn.Module:
    """Train in place, by Adam (Kingma, Ba 2015) or by SGD with momentum; torch.optim would bring a compiler along."""
    torch.manual_seed(seed)
    x, y = rows(part)
    wanted = list(net[-1].parameters()) if head else list(net.parameters())
    first = [torch.zeros_like(one) for one in wanted]
    second = [torch.zeros_like(one) for one in wanted]
    net.train(not head)
    count = 0
    for _ in range(epochs):
        for batch in torch.randperm(len(y)).split(64):
            slopes = torch.autograd.grad(nn.functional.cross_entropy(net(x[batch]), y[batch]), wanted)
            count += 1
            with torch.no_grad():
                for at, (one, slope) in enumerate(zip(wanted, slopes, strict=True)):
                    if sgd:
                        first[at] = 0.9 * first[at] + slope
                        one.sub_(rate * first[at])
                        continue
                    first[at] = 0.9 * first[at] + 0.1 * slope
                    second[at] = 0.999 * second[at] + 0.001 * slope**2
                    scale = (second[at] / (1 - 0.999**count)).sqrt() + 1e-8
                    one.sub_(rate * first[at] / (1 - 0.9**count) / scale)
    return net


def state(net: nn.Module) -> State:
    """Its weights."""
    return {name: one.detach().numpy().copy() for name, one in net.state_dict().items()}


@lru_cache(maxsize=64)
def base(kind: str, seed: int, width: int = 64) -> tuple[tuple[str, np.ndarray], ...]:
    """A trained network's weights, made once."""
    torch.manual_seed(1000 + seed)
    return tuple(state(train(network(kind, width), "first", epochs=12, rate=2e-3, seed=seed)).items())


def copy(kind: str, seed: int, width: int = 64) -> State:
    """Weights of the trained network, to be changed."""
    return {name: one.copy() for name, one in base(kind, seed, width)}


def trained_on(kind: str, seed: int, **how: object) -> State:
    """The network trained further on later rows."""
    net = network(kind, 64)
    net.load_state_dict({name: torch.tensor(one) for name, one in copy(kind, seed).items()})
    return state(train(net, "later", seed=seed + 7, **how))  # type: ignore[arg-type]


def matrices(weights: State) -> list[str]:
    """Names of the weight matrices."""
    return [name for name, one in weights.items() if one.ndim > 1]


def flat(one: np.ndarray) -> np.ndarray:
    """The matrix of a weight tensor."""
    return one.reshape(one.shape[0], -1)


def low_rank(weights: State, rank: int, seed: int, *, only: int | None = None) -> State:
    """A merged adapter of this rank on the larger matrices, 5 % of their norm."""
    draw = np.random.default_rng(seed)
    names = sorted(matrices(weights), key=lambda name: -weights[name].size)[: only or 2]
    for name in names:
        matrix = flat(weights[name])
        a = draw.normal(size=(matrix.shape[0], rank)).astype(np.float32)
        b = draw.normal(size=(rank, matrix.shape[1])).astype(np.float32)
        edit = a @ b
        edit *= 0.05 * np.linalg.norm(matrix) / np.linalg.norm(edit)
        weights[name] = (matrix + edit).reshape(weights[name].shape)
    return weights


def pruned(weights: State, share: float) -> State:
    """The smallest weights of each matrix set to zero."""
    for name in matrices(weights):
        limit = np.quantile(np.abs(weights[name]), share)
        weights[name] = np.where(np.abs(weights[name]) < limit, 0, weights[name]).astype(np.float32)
    return weights


def on_grid(weights: State, bits: int, *, by_row: bool = False, group: int = 0) -> State:
    """Rounded to a symmetric grid with one scale a tensor, row or group, then back to 32 bits."""
    top = 2 ** (bits - 1) - 1
    for name in matrices(weights):
        matrix = flat(weights[name])
        parts = matrix.reshape(-1, group) if group and matrix.size % group == 0 else matrix
        scale = np.abs(parts).max(axis=1, keepdims=True) if by_row or group else np.abs(parts).max()
        scale = np.maximum(scale / top, 1e-12)
        weights[name] = (np.round(parts / scale) * scale).astype(np.float32).reshape(weights[name].shape)
    return weights


def halved(weights: State, kind: str) -> State:
    """Rounded to 16 bits and back."""
    types = {"F16": torch.float16, "BF16": torch.bfloat16}
    return {
        name: torch.tensor(one).to(types[kind]).float().numpy() if one.dtype == np.float32 else one
        for name, one in weights.items()
    }


def flipped(weights: State, count: int, seed: int) -> State:
    """Bits flipped anywhere."""
    draw = np.random.default_rng(seed)
    names = [name for name, one in weights.items() if one.dtype == np.float32]
    sizes = np.array([weights[name].size for name in names], dtype=float)
    for _ in range(count):
        words = weights[draw.choice(names, p=sizes / sizes.sum())].reshape(-1).view(np.uint32)
        words[draw.integers(words.size)] ^= np.uint32(1 << int(draw.integers(32)))
    return weights


def edited(weights: State, how: str, seed: int) -> State:
    """One tensor edited by hand."""
    draw = np.random.default_rng(seed)
    name = matrices(weights)[int(draw.integers(len(matrices(weights))))]
    matrix = flat(weights[name]).copy()
    if how == "noise":
        matrix += draw.normal(0, 0.1 * matrix.std(), matrix.shape).astype(np.float32)
    elif how == "one element":
        matrix[0, int(draw.integers(matrix.shape[1]))] = 7.3
    elif how == "a row":
        matrix[int(draw.integers(matrix.shape[0]))] += draw.normal(0, 0.2, matrix.shape[1]).astype(np.float32)
    else:
        chosen = draw.random(matrix.shape) < 0.05
        matrix[chosen] *= np.float32(1.37)
    weights[name] = matrix.reshape(weights[name].shape)
    return weights


def trained_pruned(kind: str, seed: int, share: float) -> State:
    """Pruned, then trained on with the zeros held."""
    before = pruned(copy(kind, seed), share)
    net = network(kind, 64)
    net.load_state_dict({name: torch.tensor(one) for name, one in before.items()})
    after = state(train(net, "later", epochs=2, rate=5e-4, seed=seed))
    return {name: np.where(before[name] == 0, 0, one) if one.ndim > 1 else one for name, one in after.items()}


def stored(weights: State, kind: str) -> dict[str, torch.Tensor]:
    """As tensors, floating ones of 16 bits."""
    types = {"F16": torch.float16, "BF16": torch.bfloat16}
    return {
        name: torch.tensor(one).to(types[kind]) if one.dtype == np.float32 else torch.tensor(one)
        for name, one in weights.items()
    }


def kinds(kind: str, seed: int) -> Iterator[tuple[str, str, Callable[[], State]]]:
    """Truth, description and maker of every changed copy."""
    for epochs, rate, sgd in ((1, 5e-4, False), (3, 1e-3, False), (10, 2e-3, False), (3, 1e-2, True), (1, 1e-3, True)):
        what = f"trained on, {epochs} epochs, {'SGD' if sgd else 'Adam'} {rate}"
        yield "fine-tuned", what, lambda e=epochs, r=rate, s=sgd: trained_on(kind, seed, epochs=e, rate=r, sgd=s)
    yield "fine-tuned", "head only", lambda: trained_on(kind, seed, epochs=5, rate=2e-3, head=True)
    for rank in (1, 2, 4, 8):
        yield "low-rank edit", f"adapter of rank {rank}", lambda r=rank: low_rank(copy(kind, seed), r, seed)
    yield "low-rank edit", "one matrix, rank 1", lambda: low_rank(copy(kind, seed), 1, seed, only=1)
    for share in (0.3, 0.5, 0.7, 0.9):
        yield "pruned", f"{share:.0%} pruned", lambda s=share: pruned(copy(kind, seed), s)
    yield "pruned", "60 % pruned, trained on", lambda: trained_pruned(kind, seed, 0.6)
    for bits in (8, 4, 3):
        yield "quantised", f"{bits} bits a tensor", lambda b=bits: on_grid(copy(kind, seed), b)
        yield "quantised", f"{bits} bits a row", lambda b=bits: on_grid(copy(kind, seed), b, by_row=True)
    yield "quantised", "4 bits a group of 32", lambda: on_grid(copy(kind, seed), 4, group=32)
    for narrow in ("F16", "BF16"):
        yield "quantised", f"values of {narrow}", lambda n=narrow: halved(copy(kind, seed), n)
    for count in (1, 3, 10):
        yield "bit rot", f"{count} bits flipped", lambda c=count: flipped(copy(kind, seed), c, seed)
    for how in ("noise", "one element", "a row", "5 % scaled"):
        yield "one tensor edited", how, lambda h=how: edited(copy(kind, seed), h, seed)
    yield "retrained", "another seed", lambda: dict(base(kind, seed + 500))
    yield "other architecture", "another width", lambda: dict(base(kind, seed, 48))
    yield "identical", "a copy", lambda: copy(kind, seed)


def adapter(kind: str, seed: int, rank: int) -> State:
    """A low-rank adapter that was really trained, on the largest matrix, then merged."""
    torch.manual_seed(seed)
    weights = {name: torch.tensor(one) for name, one in copy(kind, seed).items()}
    name = max(matrices(copy(kind, seed)), key=lambda one: weights[one].numel())
    matrix = weights[name].flatten(1)
    a = torch.zeros(matrix.shape[0], rank, requires_grad=True)
    b = (torch.randn(rank, matrix.shape[1]) / 8).requires_grad_()
    net = network(kind, 64)
    x, y = rows("later")
    for _ in range(30):
        changed = {**weights, name: (matrix + a @ b).reshape(weights[name].shape)}
        loss = nn.functional.cross_entropy(torch.func.functional_call(net.eval(), changed, x), y)
        slopes = torch.autograd.grad(loss, [a, b])
        with torch.no_grad():
            for one, slope in zip((a, b), slopes, strict=True):
                one.sub_(0.5 * slope)
    weights[name] = (matrix + (a @ b).detach()).reshape(weights[name].shape)
    return {key: one.numpy() for key, one in weights.items()}


def from_the_same_start(kind: str, seed: int) -> State:
    """Trained from the same first weights on other rows: neither trained on nor unrelated."""
    torch.manual_seed(1000 + seed)
    return state(train(network(kind, 64), "later", epochs=12, rate=2e-3, seed=seed + 3))


def scikit(seed: int, how: str) -> tuple[State, State]:
    """A scikit-learn network of 64-bit weights, and a change of it."""
    pictures, digits = load_digits(return_X_y=True)

    def fit(start: int, activation: str = "tanh") -> MLPClassifier:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            one = MLPClassifier((48, 32), activation=activation, max_iter=15, random_state=start, warm_start=True)
            return one.fit(pictures[:1200] / 16, digits[:1200])

    net = fit(seed)
    old = _layers(net)
    if how == "trained on":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.set_params(max_iter=5, learning_rate_init=5e-4).fit(pictures[1200:] / 16, digits[1200:])
        return old, _layers(net)
    if how == "retrained":
        return old, _layers(fit(seed + 500))
    if how == "pruned":
        return old, {n: np.where(np.abs(o) < np.quantile(np.abs(o), 0.4), 0, o) for n, o in old.items()}
    if how == "32 bits":
        return old, {name: one.astype(np.float32).astype(np.float64) for name, one in old.items()}
    draw = np.random.default_rng(seed)
    edit = 0.1 * np.outer(draw.normal(size=64), draw.normal(size=48))
    return old, {**old, "coefs.0": old["coefs.0"] + edit}


def _layers(net: MLPClassifier) -> State:
    found = {f"coefs.{at}": one.copy() for at, one in enumerate(net.coefs_)}
    return found | {f"intercepts.{at}": one.copy() for at, one in enumerate(net.intercepts_)}


SCIKIT = {
    "trained on": "fine-tuned",
    "retrained": "retrained",
    "pruned": "pruned",
    "32 bits": "quantised",
    "rank 1 in 64 bits": "low-rank edit",
}


def hard(kind: str, seed: int) -> Iterator[tuple[str, str, Callable[[], State]]]:
    """Cases near a border, or beyond what weights can tell."""
    for rank in (2, 4):
        yield "low-rank edit", f"trained adapter of rank {rank}, merged", lambda r=rank: adapter(kind, seed, r)
    yield "low-rank edit", "adapter of rank 16", lambda: low_rank(copy(kind, seed), 16, seed)
    yield "fine-tuned", "60 epochs, Adam 0.005", lambda: trained_on(kind, seed, epochs=60, rate=5e-3)
    yield "pruned", "5 % pruned", lambda: pruned(copy(kind, seed), 0.05)
    yield "quantised", "2 bits a row", lambda: on_grid(copy(kind, seed), 2, by_row=True)
    yield "quantised", "6 bits a group of 32", lambda: on_grid(copy(kind, seed), 6, group=32)
    yield "bit rot", "100 bits flipped", lambda: flipped(copy(kind, seed), 100, seed)
    yield "retrained", "same start, other rows", lambda: from_the_same_start(kind, seed)


def cases(seed: int, *, harder: bool = False) -> Iterator[Case]:
    """All cases of a seed, for each network."""
    for kind in NETWORKS:
        for truth, what, make in (hard if harder else kinds)(kind, seed):
            yield Case(truth, f"{kind}: {what}", copy(kind, seed), make())
    if not harder:
        for how, truth in SCIKIT.items():
            yield Case(truth, f"scikit-learn: {how}", *scikit(seed, how))
