"""A key is compromised and revoked at T: what a trusted authority saw before T still counts, nothing later does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.small_project import CONFIG, RELEASE, Small, build
from tests.stamping import Stamper, serving, stamper

from assay.errors import PolicyError, VerificationError
from assay.keys.pem import PemSigner, generate
from assay.project import integrity
from assay.project.people import revoke_key, rotate_key
from assay.signing.moment import Moment
from assay.storage.clock import utc_text

# The timestamp authority writes the real time; by the time a test runs, that is later than now.
NOW = datetime.now(UTC) + timedelta(hours=1)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stamper]:
    with serving(stamper(tmp_path_factory.mktemp("tsa"))) as found:
        yield found


@pytest.fixture
def small(tmp_path: Path, tsa: Stamper) -> Small:
    """A project that has its signatures stamped."""
    stamped = f'name = "small"\ntimestamp_url = "{tsa.url}"\ntimestamp_authorities = ["{tsa.folder}/root.pem"]'
    return build(tmp_path, today=NOW, config=CONFIG.replace('name = "small"', stamped))


@pytest.fixture
def unstamped(tmp_path: Path) -> Small:
    return build(tmp_path, today=NOW)


def reasons(small: Small, now: datetime) -> list[str]:
    try:
        integrity.verify_model(small.reopened(), "spam", now=now).close()
    except VerificationError as err:
        return [one.rule for one in err.findings]
    return []


def revoke(small: Small, at: datetime) -> None:
    revoke_key(small.reopened(), small.keys[RELEASE].key_id, at=at, now=NOW + DAY)


def test_what_was_stamped_before_the_revocation_still_counts(small: Small) -> None:
    small.sign(now=NOW)
    revoke(small, NOW + DAY)
    assert reasons(small, NOW + DAY * 30) == []


def test_what_was_stamped_after_the_revocation_does_not(small: Small) -> None:
    small.sign(now=NOW)  # the authority writes the present second, which is after the leak was
    revoke(small, NOW - MINUTE * 120)
    assert reasons(small, NOW + DAY * 30) == ["trust.revoked"]


def test_without_a_timestamp_nothing_of_a_revoked_key_counts(unstamped: Small) -> None:
    unstamped.sign(now=NOW)
    assert reasons(unstamped, NOW + DAY * 2) == []
    revoke(unstamped, NOW + DAY)
    assert reasons(unstamped, NOW + DAY * 2) == ["trust.revoked"]


def test_a_time_that_the_thief_wrote_is_no_timestamp(unstamped: Small) -> None:
    # The signature's own `created` says long before the revocation; nobody else does.
    integrity.sign_model(unstamped.project, "spam", unstamped.keys[RELEASE], now=NOW)
    revoke(unstamped, NOW + MINUTE)
    assert reasons(unstamped, NOW + DAY) == ["trust.revoked"]


def test_a_timestamp_nobody_vouches_for_here_does_not_help(small: Small) -> None:
    small.sign(now=NOW)
    revoke(small, NOW + DAY)
    toml = small.folder / "assay.toml"
    lines = [line for line in toml.read_text().splitlines() if "timestamp_authorities" not in line]
    toml.write_text("\n".join(lines))
    assert reasons(small, NOW + DAY * 2) == ["trust.revoked"]


def test_the_known_good_copy_of_a_stamped_version_still_opens(small: Small) -> None:
    small.sign(now=NOW)
    revoke(small, NOW + DAY)
    project = small.reopened()
    root = integrity.measured_root(project, "spam")
    assert root is not None
    folder = integrity.copy_folder(project, "spam", 1, root)
    integrity.open_copy(project, "spam", folder, root=root, now=NOW + DAY * 2).close()


class TestRotation:
    """A key gives way to another; both count for a while."""

    def rotate(self, small: Small, overlap: timedelta = DAY) -> PemSigner:
        key = generate(small.folder / "next.pem", passphrase=None)
        rotate_key(small.project, RELEASE, small.folder / "next.pub", overlap=overlap, now=NOW)
        return key

    def test_both_keys_count_until_the_overlap_ends(self, unstamped: Small) -> None:
        unstamped.sign(now=NOW)
        key = self.rotate(unstamped)
        trust = unstamped.reopened().trust
        assert reasons(unstamped, NOW + DAY - MINUTE) == []
        assert reasons(unstamped, NOW + DAY) == ["trust.expired"]
        assert trust.identify(key.key_id, Moment(NOW + DAY * 999)).identity == RELEASE
        (entry,) = unstamped.project.log.entries(kinds=["key.rotated"])
        assert entry.entry.data["trust_digest"] == trust.digest

    def test_what_was_stamped_in_time_outlasts_its_key(self, small: Small) -> None:
        small.sign(now=NOW)
        self.rotate(small)
        assert reasons(small, NOW + DAY * 99) == []

    def test_an_end_that_comes_sooner_stands(self, unstamped: Small) -> None:
        self.rotate(unstamped)
        generate(unstamped.folder / "third.pem", passphrase=None)
        third = unstamped.folder / "third.pub"
        rotate_key(unstamped.project, RELEASE, third, overlap=DAY * 9, now=NOW + MINUTE)
        ends = sorted(key.until or "none" for key in unstamped.project.trust.keys_of(RELEASE))
        assert ends == [utc_text(NOW + DAY), utc_text(NOW + MINUTE + DAY * 9), "none"]

    def test_who_has_no_key_has_none_to_rotate(self, unstamped: Small) -> None:
        generate(unstamped.folder / "next.pem", passphrase=None)
        public = unstamped.folder / "next.pub"
        with pytest.raises(PolicyError, match="no trusted key to rotate"):
            rotate_key(unstamped.project, "eve@acme.example", public, overlap=DAY, now=NOW)
        with pytest.raises(PolicyError, match="listed twice"):
            rotate_key(unstamped.project, RELEASE, unstamped.folder / "keys" / "anna.pub", overlap=DAY, now=NOW)
        with pytest.raises(PolicyError, match="year 9999"):
            rotate_key(unstamped.project, RELEASE, public, overlap=timedelta(days=3_650_000), now=NOW)
