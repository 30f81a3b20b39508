"""Make the signatures under ``assets``, each by the release of model_signing that it is named after.

``python tests/compat/make_assets.py WORKPLACE`` installs every release into an environment of its own
under WORKPLACE, makes keys and certificates, signs one small model with each release in every way it
knows, and writes the signatures and the public halves. The private keys stay in WORKPLACE. All assets
are made anew together, because they share the keys. Needs an index to install from; the tests do not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ASSETS = Path(__file__).parent / "assets"
# Before 1.1.0 a package was used that sigstore 4 no longer brings, and cryptography 46 breaks it.
OLD = ["sigstore==3.6.7", "sigstore-protobuf-specs==0.3.2", "cryptography==45.0.7", "pyOpenSSL==25.3.0"]
NEW = ["sigstore==4.5.1", "cryptography==50.0.2", "pyOpenSSL==26.4.0"]  # they import pyOpenSSL without saying so
RELEASES = {
    "0.2.0": OLD,
    "0.3.0": OLD,
    "0.3.1": OLD,
    "1.0.0": OLD,
    "1.0.1": OLD,
    "1.1.0": NEW,
    "1.1.1": NEW,
}
FILES = {
    "a/b.bin": b"b" * 2500,
    "a-b.bin": b"weights",
    "a.txt": b"text",
    "config.json": b"{}",
    "empty.bin": b"",
    "\u00e4.txt": b"umlaut",
}
CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
SHARD_BYTES = 1000

# Runs inside the environment of the release: the module that signs is another for 0.2.0.
SIGN = """
import json, sys
from pathlib import Path
job = json.loads(sys.argv[1])
model, place, key = Path(job["model"]), Path(job["signature"]), job["key"]
if job["release"] == "0.2.0":
    from model_signing import model as models
    from model_signing.hashing import file, memory
    from model_signing.serialization import serialize_by_file
    from model_signing.signature import key as keys, pki
    from model_signing.signing import in_toto, in_toto_signature
    if job["chain"]:
        signer = pki.PKISigner.from_path(key, job["chain"][0], job["chain"][1:])
    else:
        signer = keys.ECKeySigner.from_path(key)
    def hasher(path):
        return file.SimpleFileHasher(file=path, content_hasher=memory.SHA256())
    models.sign(
        model_path=model,
        signer=in_toto_signature.IntotoSigner(signer),
        payload_generator=in_toto.DigestsIntotoPayload.from_manifest,
        serializer=serialize_by_file.ManifestSerializer(file_hasher_factory=hasher),
        ignore_paths=[place],
    ).write(place)
else:
    import model_signing
    class Config(model_signing.signing.Config):
        def use_sigstore_signer(self, **_):  # the default, which some releases fetch a trust root for
            return self
    config = Config()
    if job["chain"]:
        chain = [Path(one) for one in job["chain"]]
        config.use_certificate_signer(private_key=Path(key), signing_certificate=chain[0], certificate_chain=chain[1:])
    else:
        config.use_elliptic_key_signer(private_key=Path(key))
    hashing = model_signing.hashing.Config()
    if job["shard_size"]:
        hashing.use_shard_serialization(hashing_algorithm=job["hash"], shard_size=job["shard_size"])
    else:
        hashing.use_file_serialization(hashing_algorithm=job["hash"])
    if job["release"] < "1.1":  # their defaults are found only from within the model
        hashing.set_ignored_paths(paths=[place, *(model / name for name in (".git", ".gitignore"))])
    else:
        hashing.set_ignored_paths(paths=[place], ignore_git_paths=True)
    config.set_hashing_config(hashing).sign(model, place)
"""


def environment(workplace: Path, release: str) -> Path:
    """The Python of an environment with this release."""
    python = workplace / f"v{release}" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        wanted = [f"model-signing=={release}", *RELEASES[release]]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return python


def make_keys(workplace: Path) -> None:
    """One key for each curve, and a certificate for that on P-384 by an authority below another."""
    for name, curve in CURVES.items():
        key = ec.generate_private_key(curve)
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (workplace / f"{name}.pem").write_bytes(text)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (ASSETS / f"{name}.pub").write_bytes(public)
        if name == "p384":
            make_certificates(workplace, key)


def make_certificates(workplace: Path, leaf_key: ec.EllipticCurvePrivateKey) -> None:
    """root, intermediate, and a leaf for release@example.org; valid long enough for any test."""
    issuer_name, issuer_key = "root", ec.generate_private_key(ec.SECP384R1())
    start = datetime(2025, 1, 1, tzinfo=UTC)
    for name, key in (("root", issuer_key), ("between", ec.generate_private_key(ec.SECP384R1())), ("leaf", leaf_key)):
        authority = name != "leaf"
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer_name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=365 * 40))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(usage(authority=authority), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if not authority:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            ).add_extension(x509.SubjectAlternativeName([x509.RFC822Name("release@example.org")]), critical=False)
        text = builder.sign(issuer_key, hashes.SHA384()).public_bytes(Encoding.PEM)
        (workplace / f"{name}.crt").write_bytes(text)
        issuer_name, issuer_key = name, key
    shutil.copyfile(workplace / "root.crt", ASSETS / "root.crt")


def usage(*, authority: bool) -> x509.KeyUsage:
    """What the key of a certificate may do."""
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def jobs(release: str) -> dict[str, dict[str, object]]:
    """Every way to sign that the release knows, by the name of the asset."""
    ways: dict[str, dict[str, object]] = {f"key-{name}": {"key": f"{name}.pem"} for name in CURVES}
    if not release.startswith("0.3"):  # a misspelt word in 0.3 lets it write no certificate at all
        ways["certificate"] = {"key": "p384.pem", "chain": ["leaf.crt", "between.crt", "root.crt"]}
    ways["single"] = {"key": "p256.pem", "model": "single/weights.bin"}
    if release != "0.2.0":
        ways["shards"] = {"key": "p256.pem", "shard_size": SHARD_BYTES}
        ways["blake2b"] = {"key": "p256.pem", "hash": "blake2"}
    if release >= "1.1":
        ways["blake3"] = {"key": "p256.pem", "hash": "blake3"}
    return ways


def main(workplace: Path) -> None:
    """Make all assets."""
    workplace.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(ASSETS, ignore_errors=True)
    for folder in (ASSETS / "model", ASSETS / "single"):
        folder.mkdir(parents=True)
    (ASSETS / "single" / "weights.bin").write_bytes(b"weights")
    for name, content in FILES.items():
        (ASSETS / "model" / name).parent.mkdir(exist_ok=True)
        (ASSETS / "model" / name).write_bytes(content)
    make_keys(workplace)
    plain, tracked = workplace / "plain" / "model", workplace / "tracked" / "model"
    for folder in (plain, tracked):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ASSETS / "model", folder)
    (tracked / ".gitignore").write_text("left out by every release but 0.2.0")
    for release in RELEASES:
        python = environment(workplace, release)
        (ASSETS / release).mkdir()
        for name, way in jobs(release).items():
            folder = plain if release == "0.2.0" else tracked
            job = {"release": release, "hash": "sha256", "shard_size": 0, "chain": [], **way}
            job["key"] = str(workplace / str(way["key"]))
            job["chain"] = [str(workplace / one) for one in list(way.get("chain", []))]  # type: ignore[call-overload]  # a list of names
            job["model"] = str(ASSETS / str(way["model"]) if "model" in way else folder)
            job["signature"] = str(ASSETS / release / f"{name}.sig")
            done = subprocess.run([python, "-c", SIGN, json.dumps(job)], capture_output=True, text=True, check=False)
            outcome = "signed" if done.returncode == 0 else done.stderr.splitlines()[-1]
            sys.stdout.write(f"{release} {name} {outcome}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
