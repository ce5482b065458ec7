"""``SHA256SUMS``: the digest of every other file of a bundle, and the signature of these."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from uad_orchestrator.inference.bundle import BundleError
from uad_orchestrator.inference.bundle_files.signature import SIGNATURE, check_signature, signature_of
from uad_orchestrator.storage.digests import file_digest
from uad_orchestrator.storage.regular_file import read_regular

DIGESTS = "SHA256SUMS"


def write_digests(directory: Path, sign: Path | None) -> None:
    """Write the digests of all files in a folder, signed where there is a private key to sign them with.

    Raises:
        BundleError: ``sign`` holds no such key.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    lines = [f"{file_digest(path)}  {path.relative_to(directory).as_posix()}\n" for path in files]
    digests = "".join(lines).encode()
    if sign is not None:
        (directory / SIGNATURE).write_text(f"{signature_of(digests, sign)}\n")
    (directory / DIGESTS).write_bytes(digests)


def check_digests(directory: Path, needed: Collection[str], signed_by: Path | None) -> dict[str, str]:
    """Hold a bundle's files to their digests.

    Args:
        directory: the bundle's folder.
        needed: files that it has in any case.
        signed_by: a public key whose owner has to have signed it; None: nobody has to.

    Returns:
        The digest of every file of the bundle, by its place in it.

    Raises:
        BundleError: it is no bundle, is not signed as asked for, or a file is missing or not as it was written.
    """
    if not directory.exists():
        raise BundleError(
            f"{directory} is no bundle: there is no such folder; `uad export bundle` writes one"
        )
    try:
        digests = read_regular(directory / DIGESTS)
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{directory} is no bundle: there is no {DIGESTS} in it") from None
    if signed_by is not None:
        check_signature(directory, digests, signed_by)
    lines = digests.decode(errors="replace").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in needed:
        if name not in listed:
            raise BundleError(f"{directory / DIGESTS} is damaged: {name} is not in it")
    for name, digest in listed.items():
        path = directory / name
        try:
            inside, there = path.resolve().is_relative_to(directory.resolve()), path.is_file()
        except (ValueError, OSError) as error:  # a NUL character, a name too long
            raise BundleError(f"{directory / DIGESTS} is damaged: {name!r:.80} is no file's name") from error
        if not inside:
            raise BundleError(f"{directory / DIGESTS} is damaged: {name} lies outside the bundle")
        if not there:
            raise BundleError(f"{path} is missing: the bundle is not complete; copy it again")
        if (found := file_digest(path)) != digest:
            raise BundleError(
                f"{path} was changed: sha256 {found}, {digest} was written; copy the bundle again"
            )
    return listed
