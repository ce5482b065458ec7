"""The embedder's weight file: it lies in the bundle as it is, or is only named by its digest."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from uad_orchestrator.embedders.create import weight_file
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.weights import WeightsError
from uad_orchestrator.inference.bundle import Bundle, BundleError
from uad_orchestrator.storage.digests import file_digest

WEIGHTS = "weights"


class WeightsReference(BaseModel):
    """The embedder's weight file: its digest, and where it lies in the bundle; None: it does not come along."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sha256: str
    file: str | None


def put_weights(bundle: Bundle, aside: Path, include: bool) -> WeightsReference | None:
    """Note the weight file of a bundle that is written to ``aside``, and copy it there where it is to be included."""
    if bundle.weights is None:
        return None
    name = bundle.weights.name
    if not include:
        return WeightsReference(name=name, sha256=file_digest(bundle.weights), file=None)
    (aside / WEIGHTS).mkdir()
    copy = Path(shutil.copyfile(bundle.weights, aside / WEIGHTS / name))
    return WeightsReference(name=name, sha256=file_digest(copy), file=f"{WEIGHTS}/{name}")


def find_weights(
    directory: Path,
    reference: WeightsReference | None,
    embedder: EmbedderSettings | None,
    given: Path | None,
    checked: Mapping[str, str],
) -> Path | None:
    """The weight file of a bundle, held to its digest; None where the embedder needs none.

    Args:
        directory: the bundle's folder.
        reference: what the bundle says of its weights.
        embedder: whose they are.
        given: the file that was handed over, where the bundle does not hold it.
        checked: the digests of the bundle's files, by their place in it.

    Raises:
        BundleError: it is missing, or another one.
    """
    if reference is None or embedder is None:
        return None
    found = _own_weights(directory, reference.file) if reference.file is not None else given
    try:
        found = found or weight_file(embedder, directory)
    except WeightsError:
        found = None
    if found is None or not found.is_file():
        place = "" if found is None else f" ({found} is no file)"
        raise BundleError(
            f"{directory}: it was exported without the embedder's weights: hand over {reference.name} "
            f"(sha256 {reference.sha256}) with --weights{place}"
        )
    if (digest := checked.get(reference.file or "") or file_digest(found)) != reference.sha256:
        raise BundleError(f"{found} has sha256 {digest}; {directory} needs {reference.sha256}")
    return found


def _own_weights(directory: Path, file: str) -> Path:
    own = directory / file
    if own.parent != directory / WEIGHTS or not own.is_file():
        raise BundleError(
            f"{directory} is damaged: it names the weight file {file}, which does not lie in its folder {WEIGHTS}"
        )
    return own
