"""A bundle's signature: ed25519 over its digests, by a key that only those have who release bundles.

OpenSSL makes the keys: ``openssl genpkey -algorithm ed25519 -out release.pem`` the private one, ``openssl pkey -in
release.pem -pubout -out release.pub`` the public one, which is enough to check.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from uad_orchestrator.extras import require_extra
from uad_orchestrator.inference.bundle import BundleError
from uad_orchestrator.storage.regular_file import read_regular

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE = "SHA256SUMS.sig"
"""The file that holds it: 64 bytes in hex."""

_PURPOSE = b"uad_orchestrator bundle 1\n"
"""Signed along: a signature of something else by the same key is none of a bundle."""


def signature_of(digests: bytes, key: Path) -> str:
    """The signature of a bundle's ``SHA256SUMS``.

    Args:
        digests: the file's bytes.
        key: the private key, PEM, not encrypted.

    Returns:
        Hex.

    Raises:
        ImportError: the extra ``sign`` is not installed.
        BundleError: the file holds no such key.
    """
    return _private_key(key).sign(_PURPOSE + digests).hex()


def check_signature(directory: Path, digests: bytes, key: Path) -> None:
    """Refuse a bundle that the owner of a key did not sign.

    Args:
        directory: the bundle's folder.
        digests: the bytes of its ``SHA256SUMS``.
        key: the public key, PEM.

    Raises:
        ImportError: the extra ``sign`` is not installed.
        BundleError: there is no signature, or it is not of these digests by that key; or the file holds no such key.
    """
    require_extra("cryptography", extra="sign", what="checking a bundle's signature")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        public = load_pem_public_key(read_regular(key))
    except ValueError:
        public = None
    if not isinstance(public, Ed25519PublicKey):
        raise BundleError(f"{key}: expected a public ed25519 key in PEM (`openssl pkey -in KEY -pubout`)")
    try:
        text = read_regular(directory / SIGNATURE)
    except FileNotFoundError:
        raise BundleError(
            f"{directory} is not signed: export it with --sign, or run it without --require-signature"
        ) from None
    try:
        public.verify(bytes.fromhex(text.decode().strip()), _PURPOSE + digests)
    except (ValueError, InvalidSignature):
        raise BundleError(
            f"{directory / SIGNATURE} is no signature of this bundle by the owner of {key}: do not use it"
        ) from None


def _private_key(key: Path) -> Ed25519PrivateKey:
    require_extra("cryptography", extra="sign", what="signing a bundle")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(read_regular(key), password=None)
    except (ValueError, TypeError):  # TypeError: it is encrypted
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise BundleError(
            f"{key}: expected a private ed25519 key in PEM, not encrypted (`openssl genpkey -algorithm ed25519`)"
        )
    return private
