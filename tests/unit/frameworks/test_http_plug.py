"""The description of an API: what it may say, what is sent, and what is read from the answer."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.served_model import Letters, description, serve

from assay.errors import AnswerError, ConfigError, LoadError, TableError
from assay.frameworks.asking import Endpoint
from assay.frameworks.http import Http, HttpModel

URL = 'url = "https://models.example.org/v1"\n'
BODY = '[body]\na = "{a}"\n'
ANSWER = '[answer]\nlabel = "/label"\n'


class Text:
    """One file in memory."""

    def __init__(self, text: str, name: str = "endpoint.toml") -> None:
        self._name, self._text = name, text

    def names(self) -> tuple[str, ...]:
        return (self._name,)

    def view(self, name: str) -> memoryview:
        assert name == self._name
        return memoryview(self._text.encode())

    def path(self, name: str) -> str:
        raise AssertionError(name)

    def folder(self) -> str:
        raise AssertionError


def opened(text: str) -> HttpModel:
    return Http().open(Text(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BODY + ANSWER, "url must be a text"),
        ('url = "ftp://a"\n' + BODY + ANSWER, "no address"),
        ('url = "https://user:word@a.example/"\n' + BODY + ANSWER, "without a name, password"),
        ('url = "http://models.example.org/"\n' + BODY + ANSWER, "without encryption"),
        (
            'url = "http://models.example.org/"\nplain_http = true\nheaders = {A = "B"}\n' + BODY + ANSWER,
            "no header goes there",
        ),
        (URL + 'method = "DELETE"\n' + BODY + ANSWER, "the method 'DELETE'"),
        (URL + 'headers = {Authorization = "Bearer sk-1"}\n' + BODY + ANSWER, "name an environment variable"),
        (URL + "timeout_s = 0\n" + BODY + ANSWER, "timeout_s"),
        (URL + 'max_bytes = "1"\n' + BODY + ANSWER, "are numbers"),
        (URL + ANSWER, "sends a column"),
        (URL + '[body]\na = "{a!r}"\n' + ANSWER, "name no column"),
        (URL + '[body]\na = "{a"\n' + ANSWER, "single brace"),
        (URL + "[body]\na = 2026-01-01\n" + ANSWER, "no word for"),
        (URL + 'method = "GET"\n' + BODY + ANSWER, "GET sends no body"),
        (URL + BODY, r"\[answer\] needs label"),
        (URL + BODY + '[answer]\nlabel = "label"\n', "no JSON pointer"),
        (URL + BODY + '[answer]\nlabel = "/a"\nclass_key = "b"\n', "together"),
        (URL + BODY + '[answer]\nprobabilities = "/a"\nclasses = ["a", "a"]\n', "different texts"),
        (URL + BODY + ANSWER + "other = 1\n", "unknown key 'other'"),
        (URL + "secret = 1\n" + BODY + ANSWER, "unknown key 'secret'"),
        ("= 1", "no TOML"),
    ],
)
def test_a_wrong_description_is_refused_with_its_reason(text: str, said: str) -> None:
    with pytest.raises(LoadError, match=said):
        opened(text)


def test_a_header_that_may_be_the_secret_itself_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        Endpoint("https://models.example.org/", headers={"Authorization": "Bearer sk-live-1"})
    assert "sk-live" not in refused.value.message


def test_values_keep_their_type_alone_and_become_text_among_text(monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(URL + '[body]\nx = ["{a}", {y = "{b}"}]\nprompt = "{{{b}}} of {a}"\nn = 0\n' + ANSWER)
    sent: list[object] = []

    def ask(self: Endpoint, body: object = None, query: object = None) -> object:
        del self, query
        sent.append(body)
        return {"label": 1}

    monkeypatch.setattr(Endpoint, "ask", ask)
    found = model.predict(pa.table({"a": [1.5, 2.0], "b": ["c", "d"], "left alone": [1, 2]}))
    assert sent == [
        {"x": [1.5, {"y": "c"}], "prompt": "{c} of 1.5", "n": 0},
        {"x": [2.0, {"y": "d"}], "prompt": "{d} of 2.0", "n": 0},
    ]
    assert found.labels.tolist() == [1, 1]
    with pytest.raises(TableError, match="needs column b"):
        model.predict(pa.table({"a": [1.0]}))
    for value in (float("nan"), datetime(2026, 1, 1, tzinfo=UTC), b"raw"):
        with pytest.raises(TableError, match="cannot be sent"):
            model.predict(pa.table({"a": [value], "b": ["c"]}))


FORMS = {
    "object": ('probabilities = "/p"', {"p": {"x": 0.75, "y": 0.25}}),
    "list": ('probabilities = "/p"\nclasses = ["x", "y"]', {"p": [0.75, 0.25]}),
    "pairs": (
        'probabilities = "/p/0"\nclass_key = "t"\nvalue_key = "v"',
        {"p": [[{"t": "x", "v": 0.75}, {"t": "y", "v": 0.25}]]},
    ),
    "logarithms": ('log_probabilities = "/p~1q"', {"p/q": {"x": -0.2876820724517809, "y": -1.3862943611198906}}),
}


@pytest.mark.parametrize("form", FORMS)
def test_probabilities_are_read_in_each_form(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, answer = FORMS[form]
    monkeypatch.setattr(Endpoint, "ask", lambda *_: answer)
    found = opened(f"{URL}{BODY}[answer]\n{where}\n").predict(pa.table({"a": [1]}))
    assert found.labels.tolist() == ["x"]
    assert found.confidence is not None
    assert found.confidence.tolist() == pytest.approx([0.75])
    assert found.scores is not None
    assert found.scores.tolist() == [pytest.approx([0.75, 0.25])]


@pytest.mark.parametrize(
    "answer",
    [
        {"p": [0.5, 0.6]},
        {"p": [0.5]},
        {"p": [0.5, True]},
        {"p": [0.5, "0.5"]},
        {"p": [-0.5, 0.5]},
        {"p": {"z": 1}},
        {"q": [0.5, 0.5]},
        {"p": None},
        [],
        "p",
    ],
)
def test_what_are_no_probabilities_are_our_error(answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Endpoint, "ask", lambda *_: answer)
    model = opened(f'{URL}{BODY}[answer]\nprobabilities = "/p"\nclasses = ["x", "y"]\n')
    with pytest.raises(AnswerError):
        model.predict(pa.table({"a": [1]}))


def test_a_real_server_is_asked_row_by_row() -> None:
    with serve(Letters()) as served:
        found = opened(description(served)).predict(pa.table({"number": [1.0, 2.0, 3.0]}))
        assert served.asked == 3
        assert found.scores is not None
        assert found.scores.sum(axis=1).tolist() == pytest.approx([1, 1, 1])
        assert opened(description(served)).predict(pa.table({"number": pa.array([], pa.float64())})).labels.size == 0


def test_a_redirection_is_not_followed_even_to_the_same_host() -> None:
    with serve(Letters()) as served, serve(Letters()) as other:
        for place in (other.url, served.url):
            served.raw = lambda place=place: (307, {"Location": place}, b"")
            with pytest.raises(AnswerError, match="no redirection is followed"):
                Endpoint(served.url).ask({"number": 1})
        assert (served.asked, other.asked) == (2, 0)


def test_only_a_certificate_that_somebody_vouches_for_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with serve(Letters(), tls=context) as served:
        secure = served.url.replace("http://127.0.0.1", "https://localhost")
        with pytest.raises(AnswerError, match="certificate or connection does not hold"):
            Endpoint(secure).ask({"number": 1})
        assert served.asked == 0
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert isinstance(Endpoint(secure).ask({"number": 1}), dict)
        with pytest.raises(AnswerError, match="does not hold"):  # vouched for, and of another host
            Endpoint(secure.replace("localhost", "127.0.0.1")).ask({"number": 1})


def test_many_answers_of_100_continue_end_in_time() -> None:
    with serve(Letters()) as served:
        served.raw = lambda: (100, {}, b"")
        with pytest.raises(AnswerError):
            Endpoint(served.url, timeout_s=0.5).ask({"number": 1})


def test_a_query_is_joined_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[object, object]] = []

    def sent(self: Endpoint, raw: object, headers: object, query: object) -> bytes:
        del self, headers
        found.append((raw, query))
        return json.dumps({"label": "x"}).encode()

    monkeypatch.setattr(Endpoint, "_sent", sent)
    model = opened('url = "https://models.example.org/v1?key=hush"\nmethod = "GET"\n[query]\nq = "{a} & co"\n' + ANSWER)
    assert model.predict(pa.table({"a": ["b"]})).labels.tolist() == ["x"]
    assert found == [(None, {"q": "b & co"})]
    assert "hush" not in model.endpoint.place
