from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from assay.keys.pem import PemSigner
from assay.signing.trust import TrustStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_signer() -> PemSigner:
    return PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)


@pytest.fixture(scope="session")
def signer() -> PemSigner:
    return make_signer()


@pytest.fixture(scope="session")
def stranger() -> PemSigner:
    return make_signer()


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def trust(signer: PemSigner) -> TrustStore:
    return TrustStore().trust("anna@example.org", signer.public_pem())
