"""A model served over HTTP on this machine: a few rows of logits, and every way in which it can be exchanged."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

LETTERS = "abcdefghijklmnop"


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max())
    shares: np.ndarray = raised / raised.sum()
    return shares


@dataclass
class Letters:
    """A model that answers one letter to a number: a network of one hidden layer, 16 letters."""

    seed: int = 0
    temperature: float = 1.0
    first: np.ndarray = field(init=False)
    second: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.first = rng.normal(0, 1, (3, 24))
        self.second = rng.normal(0, 0.35, (24, len(LETTERS)))

    def probabilities(self, number: float) -> np.ndarray:
        hidden = np.tanh(np.array([np.sin(number), np.cos(number), 1.0]) @ self.first)
        return softmax(hidden @ self.second / self.temperature)

    def quantised(self, bits: int) -> Letters:
        """The same model with weights of so many bits."""
        other = Letters(self.seed, self.temperature)
        for name in ("first", "second"):
            weights = getattr(self, name)
            step = np.abs(weights).max() / (2 ** (bits - 1) - 1)
            setattr(other, name, np.round(weights / step) * step)
        return other

    def tuned(self, by: float, seed: int = 9) -> Letters:
        """The same model, trained on for a while."""
        other = Letters(self.seed, self.temperature)
        other.first, other.second = self.first.copy(), self.second.copy()
        other.second += by * np.random.default_rng(seed).normal(0, 0.35, other.second.shape)
        return other


class Served:
    """What the server does; a test changes it while it runs.

    Attributes:
        model: Answers.
        way: ``probabilities``, ``logarithms``, ``sampled`` or ``greedy``.
        raw: When set, makes status, headers and body itself.
        wait_s: Seconds before it answers.
        fail_every: Every so manieth question is answered with status 500; 0 for none.
        headers: Headers of the last question.
    """

    def __init__(self, model: Letters, way: str) -> None:
        self.model = model
        self.way = way
        self.raw: Callable[[], tuple[int, dict[str, str], bytes]] | None = None
        self.wait_s = 0.0
        self.fail_every = 0
        self.asked = 0
        self.headers: dict[str, str] = {}
        self.url = ""
        self._rng = np.random.default_rng(1)
        self._lock = threading.Lock()

    def answer(self, question: dict[str, object]) -> dict[str, object]:
        shares = self.model.probabilities(float(str(question["number"])))
        with self._lock:
            drawn = int(self._rng.choice(len(LETTERS), p=shares))
        if self.way == "sampled":
            return {"choices": [{"text": LETTERS[drawn]}]}
        best = LETTERS[int(shares.argmax())]
        if self.way == "greedy":
            return {"choices": [{"text": best}]}
        pairs = dict(zip(LETTERS, shares.tolist(), strict=True))
        if self.way == "logarithms":
            top = [{"token": name, "logprob": float(np.log(value))} for name, value in pairs.items()]
            return {"choices": [{"text": LETTERS[drawn], "top": top}]}
        return {"choices": [{"text": best, "probabilities": pairs}]}


@contextmanager
def serve(model: Letters, way: str = "probabilities", *, tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    """Serve a model on a free port."""
    served = Served(model, way)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name the standard library looks for
            served.asked += 1
            served.headers = dict(self.headers.items())
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(served.wait_s)
            status, headers, body = 200, {"Content-Type": "application/json"}, b""
            if served.raw is not None:
                status, headers, body = served.raw()
            elif served.fail_every and served.asked % served.fail_every == 0:
                status, body = 500, b"Traceback: password=hunter2"
            else:
                body = json.dumps(served.answer(question)).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                return

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}/v1/letters"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


ANSWERS = {
    "probabilities": 'label = "/choices/0/text"\nprobabilities = "/choices/0/probabilities"\n',
    "logarithms": 'log_probabilities = "/choices/0/top"\nclass_key = "token"\nvalue_key = "logprob"\n',
    "sampled": 'label = "/choices/0/text"\n',
    "greedy": 'label = "/choices/0/text"\n',
}


def description(served: Served, *, more: str = "") -> str:
    """The endpoint.toml of a served model."""
    return (
        f'url = "{served.url}"\ntimeout_s = 60\nmax_bytes = 20000\n{more}\n'
        f'[body]\nnumber = "{{number}}"\nprompt = "letter of {{number}}?"\n\n[answer]\n{ANSWERS[served.way]}'
    )
