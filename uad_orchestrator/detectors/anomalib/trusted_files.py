"""Files that may run code when they are loaded: read once, and only if their digest is trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from uad_orchestrator.storage.regular_file import read_regular

COMPANIONS: Mapping[str, tuple[str, ...]] = {".xml": (".bin",), ".onnx": (".onnx.data",)}
"""Files that belong to a checkpoint of that suffix: an OpenVINO graph's weights, an ONNX graph's large tensors."""


class UntrustedFile(ValueError):
    """A file that would be loaded is not trusted, or is not the one that was looked at before."""


def checkpoint_files(path: Path) -> list[Path]:
    """A checkpoint's files: itself first, then those beside it that it cannot be read without.

    An OpenVINO graph always has its weights beside it; an ONNX graph only where they are too large for it.
    """
    beside = [path.with_suffix(suffix) for suffix in COMPANIONS.get(path.suffix, ())]
    return [path, *(file for file in beside if file.suffix == ".bin" or file.is_file())]


def read_files(paths: Iterable[Path]) -> dict[str, bytes]:
    """The bytes of each file, by its name; what is checked and what is loaded are these same bytes."""
    return {path.name: read_regular(path) for path in paths}


def digests(contents: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 (hex) of each."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def check_trusted(found: Mapping[str, str], trusted: Collection[str], path: Path) -> None:
    """Check that each digest is trusted.

    Args:
        found: digest by file name.
        trusted: digests in hex, in either case.
        path: the checkpoint, for the message.

    Raises:
        UntrustedFile: with the line to type.
    """
    known = {digest.lower() for digest in trusted}
    if strange := {name: digest for name, digest in found.items() if digest not in known}:
        listed = ", ".join(f"{name} (sha256 {digest})" for name, digest in strange.items())
        raise UntrustedFile(
            f"{path}: not trusted: {listed}. Loading a checkpoint can run code that is hidden in it; if you know "
            f"where it comes from, type `uad trust {path}`, or put the digest under trusted_checkpoints: in uad.yaml"
        )


def check_same(found: Mapping[str, str], expected: Mapping[str, str], path: Path) -> None:
    """Check that files are still what they were; UntrustedFile naming those that are not."""
    changed = [name for name in expected if found.get(name) != expected[name]]
    if changed:
        raise UntrustedFile(
            f"{path}: {', '.join(changed)} is not the file that was looked at before: it was replaced meanwhile. "
            "Fit again (`uad refresh`) to take the new one"
        )
