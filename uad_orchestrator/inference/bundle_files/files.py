"""A bundle's folder, written whole or not at all, and read only where it is what was written."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.detectors.registry import detector_spec
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.inference.bundle import Bundle, BundleError
from uad_orchestrator.inference.bundle_files.check import check_arrays_file, check_state, read_json
from uad_orchestrator.inference.bundle_files.digests import DIGESTS, check_digests, write_digests
from uad_orchestrator.inference.bundle_files.manifest import MANIFEST, as_json, read_manifest, write_manifest
from uad_orchestrator.inference.bundle_files.preset import read_preset, write_preset
from uad_orchestrator.inference.bundle_files.weights import find_weights, put_weights
from uad_orchestrator.plugins import PluginError, installed
from uad_orchestrator.storage.atomic import new_folder

STATE = "state"
NEEDED = (MANIFEST, f"{STATE}/state.npz", f"{STATE}/state.json")


def save_bundle(
    bundle: Bundle, directory: Path, *, include_weights: bool = True, sign: Path | None = None
) -> Path:
    """Write a bundle as a new folder.

    Args:
        bundle: what is written.
        directory: must not exist; it appears complete or not at all.
        include_weights: copy the embedder's weight file; else only its digest is kept.
        sign: a private ed25519 key (PEM) to sign it with; needs the extra ``sign``.

    Returns:
        ``directory``.

    Raises:
        BundleError: something is at ``directory`` already, or ``sign`` holds no such key.
    """

    def refuse() -> bool:
        raise BundleError(f"{directory} exists already: choose another folder, or remove it")

    if directory.exists():
        refuse()
    with new_folder(directory, keep=refuse) as aside:
        weights = put_weights(bundle, aside, include_weights)
        preset = write_preset(bundle.preset, aside)
        (aside / STATE).mkdir()
        bundle.state.save(aside / STATE)
        for name, text in bundle.documents.items():
            (aside / name).parent.mkdir(exist_ok=True)
            (aside / name).write_text(text)
        write_manifest(bundle, weights, preset, aside)
        write_digests(aside, sign)
    return directory


def load_bundle(
    directory: Path,
    *,
    weights: Path | None = None,
    trusted: Collection[str] = (),
    signed_by: Path | None = None,
) -> Bundle:
    """Read a bundle; every file is checked against its digest first, then what they hold against what a fit gives.

    Args:
        directory: the bundle's folder.
        weights: the embedder's weight file, where the bundle does not hold it; it is checked against the
            digest. None: a hub's file is looked up in the local cache.
        trusted: SHA-256 (hex) of a checkpoint in the bundle that may be loaded though loading it can run code.
        signed_by: a public ed25519 key (PEM) whose owner has to have signed the bundle; needs the extra ``sign``.

    Returns:
        The bundle; its detector is made by ``Bundle.detector``.

    Raises:
        BundleError: a file is missing or changed (names it), not signed as asked for, holds what no export writes
            (NaN thresholds or bank rows, sizes that do not fit), is of another format, or was made by stages, an
            embedder or steps of another version than those installed: its thresholds would not hold.
    """
    checked = check_digests(directory, NEEDED, signed_by)
    manifest = read_manifest(directory / MANIFEST)
    model = str(manifest.recipe.get("model"))
    try:
        settings = detector_spec(model).cut(manifest.settings)
        embedder = manifest.embedder_settings()
        bundle = Bundle(
            name=manifest.name,
            model=model,
            settings=settings,
            embedder=embedder,
            preset=read_preset(manifest.name, manifest.preset, directory),
            weights=find_weights(directory, manifest.weights, embedder, weights, checked),
            state=_read_state(directory, checked),
            calibration=manifest.calibration(),
            trusted=tuple(trusted),
            reading=ReadingSettings.from_json(manifest.reading or {}),
        )
        here = as_json(bundle.recipe())
    except (ValueError, KeyError, TypeError, AttributeError, PluginError) as error:
        if missing := sorted(
            f"{name}=={version}" for name, version in manifest.packages() if not installed(name)
        ):
            raise BundleError(
                f"{directory}: it was made with another package, which is not installed here: "
                f"pip install {' '.join(missing)}"
            ) from error
        raise BundleError(
            f"{directory}: its settings are none of this installation: {error}{manifest.install_hint()}"
        ) from error
    if changed := sorted(_differences(manifest.recipe, here)):
        raise BundleError(
            f"{directory}: made with another version of what gives its scores ({'; '.join(changed)}): its "
            f"thresholds would not hold. Export the cell again{manifest.install_hint()}"
        )
    return bundle


def _read_state(directory: Path, checked: Mapping[str, str]) -> DetectorState:
    folder = directory / STATE
    check_arrays_file(folder / "state.npz")
    read_json(folder / "state.json")
    try:
        state = DetectorState.load(folder)
    except Exception as error:  # damage makes numpy's and zipfile's parsers raise nearly anything
        raise BundleError(f"{folder}: cannot be read: {error}") from error
    for name in state.files:
        if f"{STATE}/{name}" not in checked:
            raise BundleError(f"{directory / DIGESTS} is damaged: {STATE}/{name} is not in it")
    check_state(state, folder)
    return state


def _differences(made: Any, here: Any, place: str = "") -> Iterator[str]:
    """Where two recipes differ, in words."""
    if isinstance(made, Mapping) and isinstance(here, Mapping):
        for key in made.keys() | here.keys():
            yield from _differences(made.get(key), here.get(key), f"{place}.{key}" if place else str(key))
    elif isinstance(made, list) and isinstance(here, list) and len(made) == len(here):
        for number, pair in enumerate(zip(made, here, strict=True)):
            yield from _differences(*pair, f"{place}[{number}]")
    elif made != here:
        yield f"{place} was {json.dumps(made)}, is {json.dumps(here)}"
