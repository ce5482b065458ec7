"""Bundles: what comes back is what was written, and nothing else is taken."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.inference.conftest import fitted_bundle
from tests.orchestration.workshop import defective_image, normal_image, write_image
from uad_orchestrator.detectors import registry
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.inference import Bundle, BundleError, infer, load_bundle, save_bundle
from uad_orchestrator.inference.bundle_files.digests import DIGESTS
from uad_orchestrator.inference.bundle_files.manifest import MANIFEST
from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.preprocessing.settings import parse_step
from uad_orchestrator.storage.digests import file_digest


@pytest.fixture
def copied(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "copied"))


def rewrite(folder: Path, change: Callable[[dict], None]) -> None:
    """Change bundle.json and put the digests right again."""
    path = folder / MANIFEST
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != DIGESTS)
    lines = [f"{file_digest(p)}  {p.relative_to(folder).as_posix()}\n" for p in files]
    (folder / DIGESTS).write_text("".join(lines))


TILED = {
    "tiling": {"tile_size": 32, "stride": 24},
    "maps": {"normalisation": "normal_maps", "morphology": {"operation": "opening"}, "min_area": 9},
}

STRETCHED_PART = Preset(
    "stretched part",
    (
        parse_step({"resize": {"method": "squash", "height": 80, "width": 56}}),
        parse_step({"roi": {"left": 0.2, "right": 0.6}}),
    ),
)


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("plain", {"n_neighbors": 2, "maps": {"gaussian_sigma": 2.0}}),
        ("industrial_fast", {}),
        ("plain", TILED),
        (STRETCHED_PART, TILED),
    ],
)
def test_a_loaded_bundle_gives_the_same_bits(tmp_path: Path, preset: Preset | str, settings: dict) -> None:
    made = fitted_bundle(preset, **settings)
    save_bundle(made, tmp_path / "bundle")
    images = [normal_image(50), defective_image(51)[0]]
    for before, after in zip(infer(made, images), infer(tmp_path / "bundle", images), strict=True):
        assert (before.score, before.label, before.regions) == (after.score, after.label, after.regions)
        assert np.array_equal(before.anomaly_map, after.anomaly_map)
    loaded = load_bundle(tmp_path / "bundle")
    assert (loaded.settings, loaded.preset.steps) == (made.settings, made.preset.steps)
    assert loaded.calibration == made.calibration


def test_a_bundle_is_plain_files(bundle_folder: Path) -> None:
    files = {
        path.relative_to(bundle_folder).as_posix() for path in bundle_folder.rglob("*") if path.is_file()
    }
    assert files == {
        "bundle.json",
        "SHA256SUMS",
        "state/state.npz",
        "state/state.json",
        "MODEL_CARD.md",
        "provenance/memory_bank.json",
    }
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=bundle_folder, check=True)
    with np.load(bundle_folder / "state/state.npz", allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)


@pytest.mark.parametrize("name", ["bundle.json", "state/state.npz", "state/state.json", "MODEL_CARD.md"])
def test_a_changed_or_missing_file_is_named(copied: Path, name: str) -> None:
    path = copied / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=rf"{path} was changed"):
        load_bundle(copied)
    path.unlink()
    with pytest.raises(BundleError, match=rf"{path} is missing"):
        load_bundle(copied)


def test_a_folder_without_digests_is_no_bundle(copied: Path, tmp_path: Path) -> None:
    (copied / "SHA256SUMS").write_text("")
    with pytest.raises(BundleError, match=r"bundle\.json is not in it"):
        load_bundle(copied)
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BundleError, match="is no bundle"):
            load_bundle(folder)


def test_digests_do_not_reach_outside(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with (copied / "SHA256SUMS").open("a") as sums:
        sums.write(f"{file_digest(tmp_path / 'secret')}  ../secret\n")
    with pytest.raises(BundleError, match="lies outside the bundle"):
        load_bundle(copied)


def test_another_format_is_refused(copied: Path) -> None:
    rewrite(copied, lambda values: values.update(format_version=99))
    with pytest.raises(BundleError, match=r"bundle format 99; this version reads 1"):
        load_bundle(copied)


def test_other_stage_versions_are_refused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = registry.DETECTORS["vision_patchcore"]
    newer = replace(spec, versions={**spec.versions, "scoring": 7})
    monkeypatch.setattr(registry, "DETECTORS", {**registry.DETECTORS, spec.model: newer})
    with pytest.raises(BundleError, match=r"stage_versions\.scoring was \d, is 7.*Export the cell again"):
        load_bundle(copied)


def test_another_embedder_version_is_refused(copied: Path) -> None:
    rewrite(copied, lambda values: values["recipe"]["embedder"].update(version=0))
    with pytest.raises(BundleError, match=r"embedder\.version was 0, is 1"):
        load_bundle(copied)


def test_an_unknown_detector_is_refused(copied: Path) -> None:
    rewrite(copied, lambda values: values["recipe"].update(model="vision_tomorrow"))
    with pytest.raises(BundleError, match=r"no detector 'vision_tomorrow'.*install uad_orchestrator"):
        load_bundle(copied)


def test_nothing_is_written_over(bundle: Bundle, bundle_folder: Path) -> None:
    with pytest.raises(BundleError, match="exists already"):
        save_bundle(bundle, bundle_folder)


def test_a_failed_export_leaves_nothing(bundle: Bundle, tmp_path: Path) -> None:
    lost = replace(bundle, weights=tmp_path / "lost.pth")
    with pytest.raises(FileNotFoundError):
        save_bundle(lost, tmp_path / "out" / "bundle")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_region_and_a_size_travel(bundle: Bundle, tmp_path: Path) -> None:
    polygon = {"roi": {"method": "polygon", "points": [[0, 0], [1, 0], [1, 1]]}}
    steps = tuple(parse_step(step) for step in ({"resize": {"factor": 0.5}}, polygon))
    save_bundle(replace(bundle, preset=Preset("own", steps)), tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").preset.steps == steps


def test_mask_images_travel_along(bundle: Bundle, tmp_path: Path) -> None:
    upper, left = np.zeros((2, 64, 64), np.uint8)
    upper[:40], left[:, :40] = 255, 255
    steps = []
    for name, mask in (("upper", upper), ("left", left)):
        write_image(tmp_path / name / "roi.png", mask)
        steps.append(parse_step({"roi": {"method": "mask", "path": tmp_path / name / "roi.png"}}))
        steps.append(parse_step("denoise"))
    masked = replace(bundle, preset=Preset("own", tuple(steps)))
    images = [normal_image(50), defective_image(51)[0]]
    expected = [result.score for result in infer(masked, images)]
    first = save_bundle(masked, tmp_path / "first")
    for name in ("upper", "left"):
        shutil.rmtree(tmp_path / name)
    again = save_bundle(load_bundle(first), tmp_path / "again")  # a loaded one can be written again
    moved = Path(shutil.move(again, tmp_path / "moved"))
    shutil.rmtree(first)
    assert str(tmp_path) not in (moved / "bundle.json").read_text(), "no path of this machine"
    assert [result.score for result in infer(moved, images)] == expected
    assert np.array_equal(load_bundle(moved).preset.inspected((64, 64)), (upper > 0) & (left > 0))
    write_image(moved / "masks/2.png", upper)
    with pytest.raises(BundleError, match=r"masks/2\.png was changed"):
        load_bundle(moved)


def test_a_mask_image_that_no_digest_covers_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    write_image(tmp_path / "roi.png", np.full((64, 64), 255, np.uint8))
    step = parse_step({"roi": {"method": "mask", "path": tmp_path / "roi.png"}})
    folder = save_bundle(replace(bundle, preset=Preset("own", (step,))), tmp_path / "bundle")
    sums = folder / DIGESTS
    lines = [line for line in sums.read_text().splitlines(keepends=True) if "masks/" not in line]
    sums.write_text("".join(lines))
    mask = np.full((64, 64), 255, np.uint8)
    mask[:40] = 0
    write_image(folder / "masks/0.png", mask)
    with pytest.raises(BundleError, match=r"preset\.steps\[0\]\.sha256 was"):
        load_bundle(folder)
    (folder / "masks/0.png").unlink()
    with pytest.raises(BundleError, match=r"masks/0\.png"):
        load_bundle(folder)


@pytest.mark.parametrize("path", ["../roi.png", "masks/../../roi.png", "{}/roi.png"])
def test_a_bundle_reads_no_mask_image_from_elsewhere(copied: Path, tmp_path: Path, path: str) -> None:
    write_image(tmp_path / "roi.png", np.full((64, 64), 255, np.uint8))
    step = {"roi": {"method": "mask", "path": path.format(tmp_path)}}
    rewrite(copied, lambda values: values.update(preset=[step]))
    with pytest.raises(BundleError, match=r"names the mask image .*roi\.png, which does not lie"):
        load_bundle(copied)


def test_a_transductive_detector_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="vision_musc scores an image by the others"):
        replace(bundle, model="vision_musc")


def test_thresholds_for_a_false_positive_rate(bundle: Bundle) -> None:
    calibration = bundle.calibration.at(0.4)
    assert (
        calibration.image_point.threshold == sorted(bundle.calibration.scores)[5]
    )  # ceil(9 * 0.6) = 6th of 8
    assert (
        calibration.pixel_point.threshold == sorted(bundle.calibration.maxima)[6]
    )  # ceil(11 * 0.6) = 7th of 10
    assert (calibration.image_point.n, calibration.pixel_point.n) == (8, 10)
    assert math.isnan(bundle.calibration.at(0.1).image_point.threshold)
    with pytest.raises(ValueError, match=r"a false-positive rate of 0\.6"):
        bundle.calibration.at(0.6)


class TestWeights:
    """The embedder's file goes along as it is, or is held against its digest."""

    @pytest.fixture
    def weighted(self, bundle: Bundle, tmp_path: Path) -> Bundle:
        weights = tmp_path / "resnet18.pth"
        weights.write_bytes(b"weights")
        settings = EmbedderSettings(name="resnet18", weights=str(weights), image_size=64)
        return replace(bundle, embedder=settings, weights=weights)

    def test_copied(self, weighted: Bundle, tmp_path: Path) -> None:
        folder = save_bundle(weighted, tmp_path / "bundle")
        Path(weighted.weights).unlink()
        loaded = load_bundle(folder)
        assert loaded.weights == folder / "weights/resnet18.pth"
        assert loaded.weights.read_bytes() == b"weights"
        assert str(tmp_path) not in (folder / "bundle.json").read_text(), "no path of this machine"

    def test_referenced(self, weighted: Bundle, tmp_path: Path) -> None:
        folder = save_bundle(weighted, tmp_path / "bundle", include_weights=False)
        assert not (folder / "weights").exists()
        with pytest.raises(BundleError, match=r"hand over resnet18\.pth \(sha256 [0-9a-f]{64}\)"):
            load_bundle(folder)
        assert load_bundle(folder, weights=weighted.weights).weights == weighted.weights
        (tmp_path / "other.pth").write_bytes(b"other")
        with pytest.raises(BundleError, match=r"other\.pth has sha256"):
            load_bundle(folder, weights=tmp_path / "other.pth")

    @pytest.mark.parametrize("path", ["../resnet18.pth", "weights/../../resnet18.pth", "{}/resnet18.pth"])
    def test_read_from_nowhere_else(self, weighted: Bundle, tmp_path: Path, path: str) -> None:
        folder = save_bundle(weighted, tmp_path / "bundle")
        rewrite(folder, lambda values: values["weights"].update(file=path.format(tmp_path)))
        with pytest.raises(BundleError, match=r"names the weight file .*resnet18\.pth, which does not lie"):
            load_bundle(folder)

    def test_that_no_digest_covers_are_refused(self, weighted: Bundle, tmp_path: Path) -> None:
        folder = save_bundle(weighted, tmp_path / "bundle")
        sums = folder / DIGESTS
        lines = [line for line in sums.read_text().splitlines(keepends=True) if "weights/" not in line]
        sums.write_text("".join(lines))
        (folder / "weights/resnet18.pth").write_bytes(b"changed")
        with pytest.raises(BundleError, match=r"resnet18\.pth has sha256"):
            load_bundle(folder)


def test_a_bundle_runs_without_dagster_and_torch(bundle_folder: Path, images: dict[str, Path]) -> None:
    script = f"""
        import sys
        from uad_orchestrator.cli import app
        try:
            app(["infer", "--bundle", {str(bundle_folder)!r}, "--json", {str(images["b"])!r}])
        except SystemExit as end:
            assert end.code == 3, end.code
        heavy = {{"dagster", "torch", "anomalib", "matplotlib", "pandas", "duckdb", "pyarrow", "skimage"}}
        assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["anomalous"] == 1
