"""A cloud in this process: moto, with the one thing it leaves out of signing put right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto import mock_aws
from moto.kms.utils import ECDSAPrivateKey

SECRET = "not-a-real-aws-secret-of-the-tests"
_HASHES = {"ECDSA_SHA_256": hashes.SHA256(), "ECDSA_SHA_384": hashes.SHA384(), "ECDSA_SHA_512": hashes.SHA512()}


def _sign_digest(key: ECDSAPrivateKey, message: bytes, signing_algorithm: str) -> bytes:
    return key.private_key.sign(message, ec.ECDSA(Prehashed(_HASHES[signing_algorithm])))


@contextmanager
def cloud(*, faithful: bool = True) -> Iterator[None]:
    """Answer this process's calls to AWS.

    Args:
        faithful: KMS signs a digest as it is, as the service does (MessageType DIGEST); moto hashes it once more.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        if faithful:
            patch.setattr(ECDSAPrivateKey, "sign", _sign_digest)
        with mock_aws():
            yield
