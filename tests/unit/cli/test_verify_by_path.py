"""``assay verify PATH``: by a key or by a certificate, outside a project and inside one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from safetensors.numpy import save_file
from tests.authority import MAIL, pem
from tests.stamping import Stamper, long_lived, serving, stamper
from tests.unit.cli.prompt import at, typed

from assay.keys.pem import PemSigner
from assay.keys.x509 import der
from assay.signing.sign import sign

pytestmark = pytest.mark.xdist_group("cli-paths")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys, authorities, a model signed by key and the same model signed by certificate."""
    folder = tmp_path_factory.mktemp("paths") / "shop"
    for name in ("by-key", "by-certificate"):
        (folder / name).mkdir(parents=True)
        (folder / name / "weights.bin").write_bytes(bytes(range(256)))
        (folder / name / "labels.txt").write_text("ham\nspam\n")
    with at(folder):
        for name in ("release", "other"):
            assert typed("keys", "new", f"{name}.pem", "--plain").code == 0
        assert typed("sign", "by-key", "--key", "release.pem").code == 0
    root, other = long_lived("root"), long_lived("root")
    pem(folder / "ca.pem", root.certificate)
    pem(folder / "other-ca.pem", other.certificate)
    key, today = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    day = timedelta(days=1)
    leaf = root.leaf(key=key, start=today - day, end=today + day)
    pem(folder / "ci-chain.pem", leaf, root.certificate)
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "ci.pem").write_bytes(plain)
    (folder / "ci.pem").chmod(0o600)
    pem(folder / "none.crl", root.revoke(updated=today - day, until=today + day))
    pem(folder / "revoked.crl", root.revoke(leaf, at=today - day, updated=today - day, until=today + day))
    pem(folder / "stale.crl", root.revoke(updated=today - day * 2, until=today - day))
    signer = PemSigner(key, encrypted=False, loose_mode=False)
    sign(folder / "by-certificate", signer, certificates=(der(leaf), der(root.certificate)), now=datetime.now(UTC))
    return folder


@pytest.fixture
def here(shop: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the shop to stand in and to spoil."""
    folder = tmp_path / "here"
    shutil.copytree(shop, folder)
    with at(folder):
        yield folder


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)


def project(folder: Path) -> None:
    (folder / "assay.toml").write_text('[project]\nname = "shop"\n[log]\ncheckpoints = ["outside"]\n')


BY_KEY = ("verify", "by-key", "--public-key", "release.pub")
BY_CERTIFICATE = ("verify", "by-certificate", "--certificate-chain", "ca.pem")


@pytest.mark.usefixtures("here")
def test_signed_bytes_are_verified_and_outside_a_project_that_is_said() -> None:
    answer = typed(*BY_KEY)
    assert (answer.code, answer.err) == (0, "")
    assert "verified by-key: 2 files" in answer.out
    assert "outside a project: no audit entry" in answer.out
    data = typed(*BY_KEY, "--json").data
    assert (data["verified"], data["files"], data["name"], data["findings"]) == (True, 2, None, [])


def test_one_flipped_byte_is_refused_and_its_file_is_named(here: Path) -> None:
    flip(here / "by-key" / "weights.bin")
    typed(*BY_KEY).refused(1, "weights.bin has other bytes than were signed")
    data = typed(*BY_KEY, "--json").data
    assert set(data) == {"error", "findings"}
    assert isinstance(data["findings"], list)
    assert [(one["rule"], one["subject"]) for one in data["findings"]] == [("artifact.changed", "weights.bin")]


def test_every_difference_is_named_not_the_first_one(here: Path) -> None:
    flip(here / "by-key" / "weights.bin")
    (here / "by-key" / "labels.txt").unlink()
    (here / "by-key" / "extra.py").write_text("import os\n")
    typed(*BY_KEY).refused(1, "weights.bin", "labels.txt", "extra.py")


def test_left_out_paths_may_be_relative_or_absolute(here: Path) -> None:
    (here / "by-key" / "notes.txt").write_text("later\n")
    (here / "by-key" / "todo.txt").write_text("later\n")
    typed(*BY_KEY).refused(1, "notes.txt", "todo.txt")
    absolute = here / "by-key" / "todo.txt"
    assert typed(*BY_KEY, "--ignore-path", "by-key/notes.txt", "--ignore-path", absolute).code == 0


@pytest.mark.usefixtures("here")
def test_another_key_is_refused() -> None:
    typed("verify", "by-key", "--public-key", "other.pub").refused(1, "wanted")


def test_without_its_signature_a_model_is_refused(here: Path) -> None:
    (here / "by-key" / "model.sig").rename(here / "kept.sig")
    typed(*BY_KEY).refused(1, "signature")
    assert typed(*BY_KEY, "--signature", "kept.sig").code == 0


def test_inside_a_project_a_refusal_is_logged_and_opens_an_incident(here: Path) -> None:
    project(here)
    assert typed(*BY_KEY).code == 0
    assert not (here / ".assay").exists()  # what succeeds leaves the log alone and stays quick
    flip(here / "by-key" / "weights.bin")
    typed(*BY_KEY).refused(1, "weights.bin")
    entries, incidents = typed("log", "show", "--json").data["entries"], typed("incident", "list", "--json").data
    assert isinstance(entries, list)
    assert "verify.refused" in [entry["kind"] for entry in entries]
    assert isinstance(incidents["incidents"], list)
    assert [(one["kind"], one["model"]) for one in incidents["incidents"]] == [("integrity", "by-key")]


@pytest.mark.parametrize("damage", ["config", "log"])
def test_a_project_in_disorder_does_not_hide_a_refusal(here: Path, damage: str) -> None:
    project(here)
    (here / ".assay").mkdir()
    if damage == "config":
        (here / "assay.toml").write_text("[project\n")
    else:
        (here / ".assay" / "audit.db").write_bytes(b"not a database" * 99)
    flip(here / "by-key" / "weights.bin")
    typed(*BY_KEY).refused(1, "weights.bin has other bytes", "this refusal could not be logged")


@pytest.mark.usefixtures("here")
def test_whom_the_authority_certified_is_accepted_by_name() -> None:
    answer = typed(*BY_CERTIFICATE, "--identity", "ben@acme.example", "--identity", MAIL, "--json")
    assert answer.code == 0, answer
    assert (answer.data["signer"], answer.data["findings"]) == (MAIL, [])


@pytest.mark.usefixtures("here")
def test_accepting_anyone_certified_says_so() -> None:
    answer = typed(*BY_CERTIFICATE, "--any-identity", "--json")
    assert answer.code == 0
    assert isinstance(answer.data["findings"], list)
    assert [one["rule"] for one in answer.data["findings"]] == ["signature.any-identity"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("by-certificate", "--certificate-chain", "ca.pem", "--identity", "eve@acme.example"), "wanted eve@"),
        (("by-certificate", "--certificate-chain", "other-ca.pem", "--identity", MAIL), "trusted authority"),
        (("by-certificate", "--certificate-chain", "other-ca.pem", "--any-identity"), "trusted authority"),
        (("by-key", "--certificate-chain", "ca.pem", "--any-identity"), "wanted a signature by certificate"),
        (("by-certificate", "--public-key", "release.pub"), "wanted a signature by key"),
    ],
)
def test_another_signer_is_refused(words: tuple[str, ...], said: str) -> None:
    typed("verify", *words).refused(1, said)


def test_a_changed_file_is_refused_whoever_signed(here: Path) -> None:
    flip(here / "by-certificate" / "weights.bin")
    typed(*BY_CERTIFICATE, "--any-identity").refused(1, "weights.bin has other bytes than were signed")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "whose signature counts"),
        (("--certificate-chain", "ca.pem"), "--identity ID, or --any-identity"),
        (("--certificate-chain", "ca.pem", "--identity", MAIL, "--any-identity"), "not both"),
        (("--certificate-chain", "ca.pem", "--public-key", "release.pub"), "not both"),
        (("--public-key", "release.pub", "--identity", MAIL), "go with --certificate-chain"),
        (("--public-key", "release.pub", "--any-identity"), "go with --certificate-chain"),
        (("--identity", MAIL), "go with --certificate-chain"),
        (("--certificate-chain", "missing.pem", "--any-identity"), "missing.pem"),
        (("--certificate-chain", "release.pub", "--any-identity"), "found no certificates"),
        (("--public-key", "missing.pub"), "missing.pub"),
        (("--public-key", "by-key"), "by-key"),
        (("--public-key", "ca.pem"), "ca.pem"),
    ],
)
def test_who_counts_must_be_said_once_and_clearly(words: tuple[str, ...], said: str) -> None:
    typed("verify", "by-certificate", *words).refused(2, said)


IMPORTED = "import sys; from assay.cli.main import run; code = run(sys.argv[1:]); print(code, *sys.modules)"


def test_a_verification_that_succeeds_imports_neither_sqlalchemy_nor_numpy(here: Path) -> None:
    project(here)
    done = subprocess.run([sys.executable, "-c", IMPORTED, *BY_KEY], capture_output=True, text=True, check=True)
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0"
    assert "assay.signing.verify" in modules
    assert {"sqlalchemy", "numpy", "pandas", "pyarrow", "duckdb", "rich", "alembic"} & set(modules) == set()


def test_importing_assay_costs_next_to_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import assay"], capture_output=True, text=True, check=True
    )
    modules = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "assay" in modules
    assert {"sqlalchemy", "numpy", "click", "cryptography"} & modules == set()


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stamper]:
    with serving(stamper(tmp_path_factory.mktemp("tsa"))) as found:
        yield found


CERTIFIED = ("verify", "by-certificate", "--certificate-chain", "ca.pem", "--identity", MAIL)


def test_revocation_lists_are_looked_at_when_given(shop: Path) -> None:
    with at(shop):
        assert typed(*CERTIFIED, "--crl", "none.crl").code == 0
        typed(*CERTIFIED, "--crl", "revoked.crl").refused(1, "was revoked from", "no trusted timestamp")
        typed(*CERTIFIED, "--crl", "stale.crl").refused(1, "was to be renewed by")
        typed(*CERTIFIED, "--crl", "ca.pem").refused(2, "ca.pem", "no certificate revocation list")
        typed("verify", "by-key", "--public-key", "release.pub", "--crl", "none.crl").refused(2, "--crl goes with")


def test_a_model_is_signed_by_certificate(shop: Path) -> None:
    shutil.copytree(shop / "by-key", shop / "certified")
    verify = ("verify", "certified", "--certificate-chain", "ca.pem", "--identity", MAIL)
    with at(shop):
        signed = typed("sign", "certified", "--key", "ci.pem", "--certificate-chain", "ci-chain.pem")
        assert signed.code == 0, signed.err
        assert typed(*verify).code == 0
        typed("sign", "certified", "--key", "release.pem", "--certificate-chain", "ci-chain.pem").refused(2, "another")
        typed("sign", "certified", "--key", "ci.pem", "--certificate-chain", "ci.pem").refused(2, "no certificates")
        typed("sign", "certified", "--add", "--key", "release.pem", "--certificate-chain", "ci-chain.pem").refused(
            2, "of the first signature"
        )
        assert typed(*verify).code == 0


def test_nothing_is_signed_by_a_certificate_that_nobody_would_accept(here: Path) -> None:
    root, today, day = long_lived("root"), datetime.now(UTC), timedelta(days=1)
    key = load_pem_private_key((here / "ci.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    before = (here / "by-key" / "model.sig").read_bytes()
    tls = root.leaf(key=key, start=today - day, end=today + day, extended=(ExtendedKeyUsageOID.SERVER_AUTH,))
    pem(here / "tls.pem", tls)
    pem(here / "old.pem", root.leaf(key=key, start=today - 2 * day, end=today - day))
    for chain, said in (("tls.pem", "is for a web server (TLS)"), ("old.pem", "expired on ")):
        typed("sign", "by-key", "--key", "ci.pem", "--certificate-chain", chain).refused(2, said, "nothing was signed")
    assert (here / "by-key" / "model.sig").read_bytes() == before
    pem(here / "soon.pem", root.leaf(key=key, start=today + day, end=today + 2 * day))  # a stamp may come later
    assert typed("sign", "by-key", "--key", "ci.pem", "--certificate-chain", "soon.pem").code == 0


def test_a_signature_is_stamped_and_its_time_is_checked(shop: Path, tsa: Stamper) -> None:
    shutil.copytree(shop / "by-key", shop / "stamped")
    verify = ("verify", "stamped", "--public-key", "release.pub")
    with at(shop):
        signed = typed("sign", "stamped", "--key", "release.pem", "--timestamp-url", tsa.url)
        assert signed.code == 0, signed.err
        assert "not checked" in typed(*verify).out
        checked = typed(*verify, "--timestamp-authority", tsa.folder / "root.pem")
        assert checked.code == 0, checked.err
        assert "a trusted authority saw the signature by" in checked.out
        typed(*verify, "--timestamp-authority", "ca.pem").refused(1, "does not lead to a trusted authority")
        typed("verify", "x", "--timestamp-authority", "ca.pem").refused(2, "goes with --public-key")


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [("http://127.0.0.1:9/", 3, "cannot be asked"), ("file:///etc/passwd", 2, "begins with http")],
)
def test_without_an_authorities_answer_nothing_is_signed(shop: Path, url: str, code: int, words: str) -> None:
    before = (shop / "by-key" / "model.sig").read_bytes()
    with at(shop):
        typed("sign", "by-key", "--key", "release.pem", "--timestamp-url", url).refused(code, words)
    assert (shop / "by-key" / "model.sig").read_bytes() == before


@pytest.mark.usefixtures("here")
def test_a_conversion_keeps_the_digest_of_the_tensors_and_a_model_without_any_has_none() -> None:
    weights = {"w": np.arange(6, dtype="f4").reshape(2, 3)}
    for name in ("one", "two"):
        Path(name).mkdir()
    save_file(weights, "one/model.safetensors")
    np.savez("two/model.npz", w=weights["w"])
    signed = [typed("sign", name, "--key", "release.pem", "--json").data for name in ("one", "two")]
    verified = [typed("verify", name, "--public-key", "release.pub", "--json").data for name in ("one", "two")]
    (root,) = {one["tensor_root"] for one in (*signed, *verified)}
    assert signed[0]["root"] != signed[1]["root"]
    assert str(root) in typed("verify", "one", "--public-key", "release.pub").out
    assert str(root) in typed("sign", "one", "--key", "release.pem").out
    assert typed(*BY_KEY, "--json").data["tensor_root"] is None
    assert "tensors  " not in typed(*BY_KEY).out
