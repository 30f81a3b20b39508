"""Signature and known-good copy in a second store, compared and restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import boto3
import pytest
from tests.cloud import cloud
from tests.descriptors import opened

from assay.errors import ArtifactError, ConfigError, StorageError, VerificationError
from assay.keys.pem import PemSigner, generate, load_public
from assay.signing.about import About
from assay.signing.kept import Kept, against, keep, latest, open_place, restore, verify_held, verify_recorded
from assay.signing.record import Wanted
from assay.signing.sign import Signed, default_signature, sign
from assay.signing.signers import SignedByKey
from assay.signing.verified import VerifiedModel
from assay.signing.verify import verify
from assay.storage import sealed
from assay.storage.clock import utc_text
from assay.storage.objects import Item, Objects

NOW = datetime(2026, 3, 2, tzinfo=UTC)
PLACES = ("folder", "s3://assay-kept/vault", "sealed:box")


@pytest.fixture
def signer(tmp_path: Path) -> PemSigner:
    return generate(tmp_path / "key.pem", passphrase=None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "loans"
    (path / "sub").mkdir(parents=True)
    (path / "weights.bin").write_bytes(bytes(range(256)) * 100)
    (path / "sub" / "labels.txt").write_text("yes\nno\n")
    (path / "empty").write_bytes(b"")
    return path


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Objects]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sealed, "_COST", 1 << 10)
    with cloud():
        where = {"LocationConstraint": "eu-central-1"}
        boto3.client("s3").create_bucket(Bucket="assay-kept", CreateBucketConfiguration=where)
        yield open_place(getattr(request, "param", "folder"), now=NOW, passphrase=lambda: "seal")


everywhere = pytest.mark.parametrize("place", PLACES, indirect=True)


def signed(model: Path, signer: PemSigner, version: int = 1) -> Signed:
    about = About("loans", version, utc_text(NOW + timedelta(days=version)))
    return sign(model, signer, about=about, now=NOW + timedelta(days=version))


def verifying(model: Path, signer: PemSigner) -> Callable[[], VerifiedModel]:
    rule = SignedByKey(load_public(signer.public_pem()))
    return lambda: verify(model, signers=rule, now=NOW + timedelta(days=30))


@everywhere
def test_what_is_kept_agrees_and_comes_back(place: Objects, model: Path, signer: PemSigner, tmp_path: Path) -> None:
    kept = keep(place, model, signed(model, signer), name="loans", now=NOW)
    verify_held(verifying(model, signer), place, ["loans"], default_signature(model)).close()
    found = latest(place, ["nobody", "loans"])
    assert found == kept
    assert found is not None
    back = restore(place, found, tmp_path / "back", now=NOW)
    verifying(back, signer)().close()
    assert (back / "sub" / "labels.txt").read_text() == "yes\nno\n"
    assert (back / "empty").read_bytes() == b""


@everywhere
def test_a_single_file_comes_back_with_its_signature_beside_it(
    place: Objects, model: Path, signer: PemSigner, tmp_path: Path
) -> None:
    one = model / "weights.bin"
    kept = keep(place, one, sign(one, signer, now=NOW), name="weights.bin", now=NOW)
    back = restore(place, kept, tmp_path / "back", now=NOW)
    assert back == tmp_path / "back" / "weights.bin"
    verifying(back, signer)().close()


@everywhere
def test_a_signature_exchanged_or_deleted_is_found(place: Objects, model: Path, signer: PemSigner) -> None:
    keep(place, model, signed(model, signer), name="loans", now=NOW)
    assert against(place, ["loans"], default_signature(model)) == []
    signed(model, signer, version=2)  # as validly signed as the first
    verifying(model, signer)().close()
    with pytest.raises(VerificationError) as refused:
        verify_held(verifying(model, signer), place, ["loans"], default_signature(model))
    assert [one.rule for one in refused.value.findings] == ["signature.not-as-kept"]
    assert "assay restore loans --second-store" in refused.value.findings[0].detail
    default_signature(model).unlink()
    with pytest.raises(VerificationError) as gone:
        verify_held(verifying(model, signer), place, ["loans"], default_signature(model))
    assert [one.rule for one in gone.value.findings] == ["signature.missing", "signature.not-as-kept"]
    assert "is gone" in gone.value.findings[1].detail


def test_the_newest_version_is_the_one_that_counts(place: Objects, model: Path, signer: PemSigner) -> None:
    for version in (1, 2, 10):
        done = signed(model, signer, version)
        keep(place, model, done, name="loans", now=NOW + timedelta(days=version))
    assert against(place, ["loans"], default_signature(model)) == []
    assert latest(place, ["loan"]) is None  # a name that only begins alike is another model


def test_a_model_that_nobody_kept_is_refused_and_what_is_kept_is_named(
    place: Objects, model: Path, signer: PemSigner
) -> None:
    with pytest.raises(VerificationError, match="it keeps nothing"):
        verify_held(verifying_signed(model, signer), place, ["other"], default_signature(model))
    keep(place, model, signed(model, signer), name="loans", now=NOW)
    (finding,) = against(place, ["other"], default_signature(model))
    assert finding.rule == "kept.missing"
    assert "it keeps loans" in finding.detail


def verifying_signed(model: Path, signer: PemSigner) -> Callable[[], VerifiedModel]:
    signed(model, signer)
    return verifying(model, signer)


def test_a_model_moved_to_another_folder_is_found_by_its_signed_name(
    place: Objects, model: Path, signer: PemSigner
) -> None:
    keep(place, model, signed(model, signer), name="loans", now=NOW)
    moved = model.rename(model.with_name("elsewhere"))
    verify_held(verifying(moved, signer), place, ["elsewhere"], default_signature(moved)).close()


def test_a_model_by_path_is_looked_up_under_its_own_name_first(place: Objects, model: Path, signer: PemSigner) -> None:
    """Another model, as validly signed and kept, put in this one's place is not taken for it."""
    keep(place, model, signed(model, signer), name="loans", now=NOW)
    (model / "weights.bin").write_bytes(b"another model")
    other = sign(model, signer, about=About("other", 1, utc_text(NOW)), now=NOW)
    keep(place, model, other, name="other", now=NOW)
    with pytest.raises(VerificationError, match="not the one kept as loans"):
        verify_held(verifying(model, signer), place, ["loans"], default_signature(model))


def test_a_place_that_cannot_be_read_is_no_yes_and_hides_no_refusal(
    model: Path, signer: PemSigner, tmp_path: Path
) -> None:
    signed(model, signer)
    (tmp_path / "letter").write_text("Dear Anna")
    place = open_place(f"sealed:{tmp_path / 'letter'}", now=NOW, passphrase=lambda: "seal")
    with pytest.raises(StorageError):
        verify_held(verifying(model, signer), place, ["loans"], default_signature(model))
    (model / "weights.bin").write_bytes(b"tampered")
    with pytest.raises(VerificationError) as refused:
        verify_held(verifying(model, signer), place, ["loans"], default_signature(model))
    assert [one.rule for one in refused.value.findings] == ["artifact.changed", "kept.unreadable"]


@everywhere
@pytest.mark.parametrize("how", ["edited", "longer", "shorter", "link", "gone"])
def test_a_file_that_changed_since_it_was_signed_is_not_kept(
    place: Objects, model: Path, signer: PemSigner, how: str, tmp_path: Path
) -> None:
    done = signed(model, signer)
    path = model / "weights.bin"
    raw = path.read_bytes()
    path.unlink()
    if how == "link":
        (tmp_path / "copy").write_bytes(raw)
        path.symlink_to(tmp_path / "copy")
    elif how != "gone":
        spoilt = {"edited": b"X" + raw[1:], "longer": raw + b"X", "shorter": raw[:-1]}[how]
        path.write_bytes(spoilt)
    if how == "longer":  # what was signed is kept; what was added since is not
        assert keep(place, model, done, name="loans", now=NOW)
        return
    with pytest.raises((VerificationError, StorageError)):
        keep(place, model, done, name="loans", now=NOW)
    assert latest(place, ["loans"]) is None


def test_without_a_place_a_model_is_only_verified(model: Path, signer: PemSigner) -> None:
    signed(model, signer)
    verify_held(verifying(model, signer), None, ["loans"], default_signature(model)).close()
    (model / "weights.bin").write_bytes(b"tampered")
    with pytest.raises(VerificationError) as refused:
        verify_held(verifying(model, signer), None, ["loans"], default_signature(model))
    assert [one.rule for one in refused.value.findings] == ["artifact.changed"]


def test_half_a_copy_counts_as_none(place: Objects, model: Path, signer: PemSigner) -> None:
    keep(place, model, signed(model, signer), name="loans", now=NOW)
    for name in ("files/model.sig", "note.txt"):
        place.put_all([Item.of(f"loans/20990101T000000000000Z-0000000000000000/{name}", b"{}")])
    found = latest(place, ["loans"])
    assert found is not None
    assert "2099" not in found.entry


def spoil(place: Path, how: str) -> None:
    (weights,) = place.rglob("weights.bin")
    if how == "edited":
        weights.write_bytes(b"X" + weights.read_bytes()[1:])
    elif how == "longer":
        with weights.open("ab") as file:
            file.write(b"X" * 10_000)
    elif how == "missing":
        weights.unlink()
    elif how == "renamed":
        weights.rename(weights.with_name("other.bin"))
    else:
        weights.with_name("more.py").write_text("print('hello')")


@pytest.mark.parametrize("how", ["edited", "longer", "missing", "renamed", "added"])
def test_a_copy_that_is_not_as_signed_is_never_restored(
    place: Objects, model: Path, signer: PemSigner, tmp_path: Path, how: str
) -> None:
    kept = keep(place, model, signed(model, signer), name="loans", now=NOW)
    spoil(tmp_path / "folder", how)
    with pytest.raises(VerificationError) as refused:
        restore(place, kept, tmp_path / "back", now=NOW)
    # More, fewer or longer files end the copying; a disk is not filled to find out.
    early = how in {"longer", "missing", "added"}
    assert ([one.rule for one in refused.value.findings] == ["kept.odd"]) is early
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "key.pem", "key.pub", "loans"]


def test_nothing_is_restored_over_something(place: Objects, model: Path, signer: PemSigner, tmp_path: Path) -> None:
    kept = keep(place, model, signed(model, signer), name="loans", now=NOW)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for target in (model, tmp_path / "link"):
        with pytest.raises(ArtifactError, match="new folder"):
            restore(place, kept, target, now=NOW)


def test_an_expired_copy_can_be_restored(place: Objects, model: Path, signer: PemSigner, tmp_path: Path) -> None:
    about = About("loans", 1, utc_text(NOW), expires=utc_text(NOW + timedelta(days=1)))
    kept = keep(place, model, sign(model, signer, about=about, now=NOW), name="loans", now=NOW)
    assert restore(place, kept, tmp_path / "back", now=NOW + timedelta(days=9)).is_dir()


@pytest.mark.parametrize("word", ["ftp://host/x", "gs://bucket/x"])
def test_a_place_nobody_knows_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="sealed:FILE"):
        open_place(word, now=NOW, passphrase=lambda: "")


def test_a_kept_version_says_its_name() -> None:
    assert Kept("folder", "loans/2026-abc", b"").name == "loans"


def test_a_record_alone_obeys_nothing_that_lies_beside_the_model(model: Path, signer: PemSigner) -> None:
    """A signature that leaves a file out has the same root: only a list from elsewhere may do that."""
    root = signed(model, signer).manifest.root
    assert verify_recorded(model, Wanted(root)).root == root
    (model / "evil.py").write_text("print('hello')")
    again = sign(model, signer, ignore=["evil.py"], now=NOW)
    assert again.manifest.root == root
    verifying(model, signer)().close()
    with pytest.raises(VerificationError, match="not the recorded model"):
        verify_recorded(model, Wanted(root))
    assert verify_recorded(model, Wanted(root), ignore=["evil.py"]).root == root


def test_a_record_alone_refuses_links(model: Path, signer: PemSigner) -> None:
    root = signed(model, signer).manifest.root
    (model / "link").symlink_to("/etc/passwd")
    with pytest.raises(VerificationError):
        verify_recorded(model, Wanted(root))
    with pytest.raises(ArtifactError):
        verify_recorded(model.with_name("nowhere"), Wanted(root))


class Reading:
    """A place that reads what it should keep in its own way."""

    def __init__(self, place: Objects, model: Path, *sizes: int) -> None:
        self.place, self._inner, self._model, self._sizes = place.place, place, model, sizes
        self.read: dict[str, list[bytes]] = {}
        self.left_open: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def put_all(self, items: Sequence[Item]) -> None:
        for item in items:
            before = opened(self._model)
            with item.open() as file:
                self.read[item.name.rpartition("/")[2]] = [file.read(size) for size in self._sizes]
            if opened(self._model) - before:
                self.left_open.append(item.name)


def test_a_file_is_kept_in_pieces_of_any_size_and_closed(place: Objects, model: Path, signer: PemSigner) -> None:
    reading = Reading(place, model, 0, 3, 0, -1, -1, 5)
    keep(cast("Objects", reading), model, signed(model, signer), name="loans", now=NOW)
    assert reading.read["labels.txt"] == [b"", b"yes", b"", b"\nno\n", b"", b""]
    assert b"".join(reading.read["weights.bin"]) == (model / "weights.bin").read_bytes()
    assert reading.left_open == []


def test_a_file_that_ends_early_is_refused_when_it_ends(place: Objects, model: Path, signer: PemSigner) -> None:
    done = signed(model, signer)
    (model / "sub" / "labels.txt").write_text("yes\n")
    reading = Reading(place, model, 4, 4)
    with pytest.raises(VerificationError, match=r"labels\.txt changed since it was signed"):
        keep(cast("Objects", reading), model, done, name="loans", now=NOW)


def test_files_that_were_never_signed_are_not_copied_without_end(
    place: Objects, model: Path, signer: PemSigner, tmp_path: Path
) -> None:
    kept = keep(place, model, signed(model, signer), name="loans", now=NOW)
    walked: list[str] = []

    class Endless(Reading):
        def walk(self, under: str) -> Iterator[tuple[str, Iterator[bytes]]]:
            yield from place.walk(under)
            for number in range(100):
                walked.append(str(number))
                yield f"{under}/{number}", iter([b"x"])

    with pytest.raises(VerificationError, match="holds more than the 3 files"):
        restore(cast("Objects", Endless(place, model)), kept, tmp_path / "back", now=NOW)
    assert walked == ["0"]


def test_a_model_refused_after_it_verified_is_let_go(place: Objects, model: Path, signer: PemSigner) -> None:
    keep(place, model, signed(model, signer), name="loans", now=NOW)
    let_go: list[str] = []
    verified = verifying(model, signer)

    def watched() -> VerifiedModel:
        found = verified()
        close = found.close

        def closing() -> None:
            let_go.append(found.root)
            close()

        found.close = closing  # type: ignore[method-assign]
        return found

    def refuse(found: VerifiedModel) -> None:
        raise VerificationError(f"not {found.root}", [])

    with pytest.raises(VerificationError, match=r"^not "):
        verify_held(watched, place, ["loans"], default_signature(model), further=refuse)
    assert len(let_go) == 1
