"""A bundle on disk: one folder, no pickle, every file under a digest.

``SHA256SUMS`` (which ``sha256sum -c`` checks, too) has the digest of every other file; it is written last, and
the folder is written aside and renamed. ``SHA256SUMS.sig`` signs it, where a key was given. ``bundle.json`` says what
the detector is, ``state/`` is what it learnt, ``weights/`` the embedder's file as it is, ``masks/`` the mask images of
its preset; the rest is for people: model card, metrics, provenance.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from uad_orchestrator import __version__
from uad_orchestrator.detectors.protocol.spec import StageSettings
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.detectors.registry import detector_spec
from uad_orchestrator.embedders.create import embedder_spec, weight_file
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.weight_files import HUB
from uad_orchestrator.embedders.weights import WeightsError
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.inference.bundle import Bundle, BundleError, Calibration
from uad_orchestrator.inference.bundle_check import (
    MapStatistics,
    Point,
    check_arrays_file,
    check_review,
    check_state,
    read_json,
)
from uad_orchestrator.inference.bundle_preset import read_preset, write_preset
from uad_orchestrator.inference.signature import SIGNATURE, check_signature, signature_of
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint
from uad_orchestrator.plugins import PluginError, installed
from uad_orchestrator.postprocess.finishing import MapScale
from uad_orchestrator.storage.atomic import new_folder
from uad_orchestrator.storage.digests import file_digest
from uad_orchestrator.storage.regular_file import read_regular

FORMAT_VERSION = 1
MANIFEST = "bundle.json"
DIGESTS = "SHA256SUMS"
STATE = "state"
WEIGHTS = "weights"


class WeightsReference(BaseModel):
    """The embedder's weight file: its digest, and where it lies in the bundle; None: it does not come along."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sha256: str
    file: str | None


class BundleManifest(BaseModel):
    """``bundle.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format_version: int
    created_with: str
    name: str
    recipe: dict[str, Any]
    settings: dict[str, Any]
    embedder: dict[str, Any] | None
    preset: list[dict[str, Any]]
    weights: WeightsReference | None
    image_point: Point
    pixel_point: Point
    scores: tuple[FiniteFloat, ...]
    maxima: tuple[FiniteFloat, ...]
    normal_maps: MapStatistics
    map_scale: MapScale | None = None
    reading: dict[str, Any] | None = None
    """Where its images are not read as their files say; left out otherwise, so that earlier versions read it."""
    review_point: Point | None = None
    """Where review begins; left out where nothing is reviewed, likewise."""


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
        weights = _put_weights(bundle, aside, include_weights)
        preset = write_preset(bundle.preset, aside)
        (aside / STATE).mkdir()
        bundle.state.save(aside / STATE)
        for name, text in bundle.documents.items():
            (aside / name).parent.mkdir(exist_ok=True)
            (aside / name).write_text(text)
        manifest = _manifest(bundle, weights, preset)
        unused = {name for name in ("reading", "review_point") if getattr(manifest, name) is None}
        values = manifest.model_dump(mode="json", exclude=unused)
        (aside / MANIFEST).write_text(json.dumps(values, indent=1, allow_nan=False))
        files = sorted(path for path in aside.rglob("*") if path.is_file())
        lines = [f"{file_digest(path)}  {path.relative_to(aside).as_posix()}\n" for path in files]
        digests = "".join(lines).encode()
        if sign is not None:
            (aside / SIGNATURE).write_text(f"{signature_of(digests, sign)}\n")
        (aside / DIGESTS).write_bytes(digests)
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
    checked = _check_digests(directory, signed_by)
    manifest = _read_manifest(directory / MANIFEST)
    check_review(manifest.image_point, manifest.review_point, directory / MANIFEST)
    model = str(manifest.recipe.get("model"))
    try:
        settings = detector_spec(model).cut(manifest.settings)
        embedder = _read_embedder(manifest.embedder)
        bundle = Bundle(
            name=manifest.name,
            model=model,
            settings=settings,
            embedder=embedder,
            preset=read_preset(manifest.name, manifest.preset, directory),
            weights=_find_weights(directory, manifest.weights, embedder, weights, checked),
            state=_read_state(directory, checked),
            calibration=_calibration(manifest),
            trusted=tuple(trusted),
            reading=ReadingSettings.from_json(manifest.reading or {}),
        )
        here = _json(bundle.recipe())
    except (ValueError, KeyError, TypeError, AttributeError, PluginError) as error:
        if missing := sorted(
            f"{name}=={version}" for name, version in _packages(manifest) if not installed(name)
        ):
            raise BundleError(
                f"{directory}: it was made with another package, which is not installed here: "
                f"pip install {' '.join(missing)}"
            ) from error
        raise BundleError(
            f"{directory}: its settings are none of this installation: {error}{_install_hint(manifest)}"
        ) from error
    if changed := sorted(_differences(manifest.recipe, here)):
        raise BundleError(
            f"{directory}: made with another version of what gives its scores ({'; '.join(changed)}): its "
            f"thresholds would not hold. Export the cell again{_install_hint(manifest)}"
        )
    return bundle


def _manifest(
    bundle: Bundle, weights: WeightsReference | None, preset: list[dict[str, Any]]
) -> BundleManifest:
    calibration = bundle.calibration
    return BundleManifest(
        format_version=FORMAT_VERSION,
        created_with=__version__,
        name=bundle.name,
        recipe=_json(bundle.recipe()),
        settings=_flat(bundle.settings),
        embedder=_embedder(bundle.embedder, weights),
        preset=preset,
        weights=weights,
        image_point=calibration.image_point.stored(),
        pixel_point=calibration.pixel_point.stored(),
        scores=calibration.scores,
        maxima=calibration.maxima,
        normal_maps=dict(calibration.normal_maps),
        map_scale=calibration.map_scale,
        reading=bundle.reading.to_json() or None,
        review_point=None if calibration.review_point is None else calibration.review_point.stored(),
    )


def _embedder(settings: EmbedderSettings | None, weights: WeightsReference | None) -> dict[str, Any] | None:
    """The embedder's settings; its weights are a hub's, or called by their name alone."""
    if settings is None:
        return None
    values = settings.model_dump(mode="json", exclude_none=True)
    if weights is not None and not (settings.weights or HUB).startswith(HUB):
        values["weights"] = weights.name
    return values


def _flat(settings: StageSettings) -> dict[str, Any]:
    """The settings as a project file has them, which ``DetectorSpec.cut`` takes."""
    fit, scoring = (part.model_dump(mode="json") for part in (settings.fit, settings.scoring))
    tiling = None if settings.tiling is None else settings.tiling.model_dump(mode="json")
    return {**fit, **scoring, "maps": settings.maps.model_dump(mode="json"), "tiling": tiling}


def _read_embedder(values: Mapping[str, Any] | None) -> EmbedderSettings | None:
    return None if values is None else embedder_spec(str(values.get("name"))).settings.model_validate(values)


def _calibration(manifest: BundleManifest) -> Calibration:
    return Calibration(
        image_point=OperatingPoint.from_json(manifest.image_point),
        pixel_point=OperatingPoint.from_json(manifest.pixel_point),
        scores=manifest.scores,
        maxima=manifest.maxima,
        normal_maps=manifest.normal_maps,
        map_scale=manifest.map_scale,
        review_point=None
        if manifest.review_point is None
        else OperatingPoint.from_json(manifest.review_point),
    )


def _put_weights(bundle: Bundle, aside: Path, include: bool) -> WeightsReference | None:
    if bundle.weights is None:
        return None
    name = bundle.weights.name
    if not include:
        return WeightsReference(name=name, sha256=file_digest(bundle.weights), file=None)
    (aside / WEIGHTS).mkdir()
    copy = Path(shutil.copyfile(bundle.weights, aside / WEIGHTS / name))
    return WeightsReference(name=name, sha256=file_digest(copy), file=f"{WEIGHTS}/{name}")


def _find_weights(
    directory: Path,
    reference: WeightsReference | None,
    embedder: EmbedderSettings | None,
    given: Path | None,
    checked: Mapping[str, str],
) -> Path | None:
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


def _check_digests(directory: Path, signed_by: Path | None) -> dict[str, str]:
    """The digest of every file of the bundle, by its place in it; BundleError where one is not as it was written."""
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
    for needed in (MANIFEST, f"{STATE}/state.npz", f"{STATE}/state.json"):
        if needed not in listed:
            raise BundleError(f"{directory / DIGESTS} is damaged: {needed} is not in it")
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


def _read_manifest(path: Path) -> BundleManifest:
    values = read_json(path)
    version = values.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path}: bundle format {version!r}; this version reads {FORMAT_VERSION}. Export the cell again, "
            "or use the version of uad_orchestrator that wrote it"
        )
    try:
        return BundleManifest.model_validate_json(read_regular(path))
    except ValidationError as error:
        raise BundleError(f"{path}: {error}") from error


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


def _install_hint(manifest: BundleManifest) -> str:
    made_with = [f"uad_orchestrator {manifest.created_with}", *map(" ".join, _packages(manifest))]
    return f", or install {' with '.join(made_with)}, which wrote the bundle"


def _packages(manifest: BundleManifest) -> list[tuple[str, str]]:
    """The packages that brought the bundle's detector and its embedder, with their versions."""
    recipes = [manifest.recipe, manifest.recipe.get("embedder")]
    packages = [recipe.get("package") for recipe in recipes if isinstance(recipe, Mapping)]
    named = {
        name: version for each in packages if isinstance(each, Mapping) for name, version in each.items()
    }
    return [(name, str(version)) for name, version in named.items()]


def _json(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists."""
    return json.loads(json.dumps(values))
