"""The archive of MVTec AD 2's server: names, kinds of pixels, one rescaling per category, nothing missing."""

from __future__ import annotations

import io
import json
import math
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from tests.export.published import SIZE, category_maps, record
from uad_orchestrator.datasets.layouts.published.mvtec_ad2 import CATEGORIES
from uad_orchestrator.export.category_maps import CategoryMaps, ExportError
from uad_orchestrator.export.submission import Rescale, write_submission
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint


@pytest.fixture
def categories(tmp_path: Path) -> list[CategoryMaps]:
    """All eight; the first is named without ``_regular``."""
    return [
        category_maps(
            tmp_path / "maps",
            "mvtec_ad2",
            name,
            [
                record(f"{name}/train/good/000_regular.png", "train", "good"),
                record(f"{name}/test_public/bad/000_regular.png", "test", "bad"),
                record(f"{name}/test_private/000{'' if name == 'can' else '_regular'}.png", "test_private", "unknown"),
                record(f"{name}/test_private/001_regular.png", "test_private", "unknown"),
                record(f"{name}/test_private_mixed/000_mixed.png", "test_private_mixed", "unknown"),
            ],
            threshold=3.5 + number,
        )
        for number, name in enumerate(CATEGORIES)
    ]  # fmt: skip


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path, "r:gz") as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]


def test_the_archive_has_every_private_image_under_its_published_name(
    categories: list[CategoryMaps], tmp_path: Path
) -> None:
    output = write_submission(categories, tmp_path / "submission.tar.gz", "patchcore")
    names = ("test_private/000_regular", "test_private/001_regular", "test_private_mixed/000_mixed")
    assert members(output).keys() == {
        f"{folder}/{category}/{name}{suffix}"
        for folder, suffix in (("anomaly_images", ".tiff"), ("anomaly_images_thresholded", ".png"))
        for category in CATEGORIES
        for name in names
    }
    again = write_submission(categories, tmp_path / "again.tar.gz", "patchcore")
    assert again.read_bytes() == output.read_bytes()


def test_one_affine_rescaling_per_category_is_recorded(
    categories: list[CategoryMaps], tmp_path: Path
) -> None:
    output = write_submission(categories, tmp_path / "submission.tar.gz", "patchcore")
    found = members(output)
    told = json.loads((tmp_path / "submission.tar.gz.uad_export.json").read_text())["categories"]
    for one in categories:
        name = one.manifest.category
        raw, written = [], []
        for private in (r for r in one.manifest.records if r.split.startswith("test_private")):
            stem = Path(private.path).stem
            stem += "" if "_" in stem else "_regular"
            raw.append(tifffile.imread(one.path(private)))
            tiff = found[f"anomaly_images/{name}/{private.split}/{stem}.tiff"]
            written.append(tifffile.imread(io.BytesIO(tiff)))
            png = cv2.imdecode(
                np.frombuffer(
                    found[f"anomaly_images_thresholded/{name}/{private.split}/{stem}.png"], np.uint8
                ),
                cv2.IMREAD_UNCHANGED,
            )
            np.testing.assert_array_equal(png, np.where(raw[-1] > one.pixel_point.threshold, 255, 0))
        values, pixels = np.array(raw, np.float64), np.array(written)
        assert (pixels.dtype, pixels.shape) == (np.float16, (3, *SIZE))
        assert (pixels.min(), pixels.max()) == (0, 1)
        back = pixels.astype(np.float64) / told[name]["rescale"]["scale"] + told[name]["rescale"]["offset"]
        np.testing.assert_allclose(back, values, atol=2**-11 * np.ptp(values))
        order = np.argsort(values, axis=None)
        assert (np.diff(pixels.ravel()[order].astype(float)) >= 0).all(), "the order across images is kept"
        assert told[name]["pixel_threshold"] == one.pixel_point.threshold
        assert told[name]["images"] == {"test_private": 2, "test_private_mixed": 1}


@pytest.mark.parametrize(("low", "high"), [(1e5, 1e6), (0.0, 1e-9), (-3.0, -3.0), (0.0, 5e-324)])
def test_maps_beyond_float16_stay_finite(low: float, high: float) -> None:
    made = Rescale.to_unit(low, high).apply(np.array([[low, high]]))
    assert made.dtype == np.float16 and np.isfinite(made).all()


def test_whatever_is_missing_is_named_all_at_once(categories: list[CategoryMaps], tmp_path: Path) -> None:
    without = categories[:-1]
    without[0].path(without[0].manifest.select("test_private")[1]).unlink()
    without[1] = replace(without[1], pixel_point=OperatingPoint(math.nan, "none: one image only", 0, 0.05))
    manifest = without[2].manifest
    without[2] = replace(without[2], manifest=replace(manifest, records=manifest.select("test_private")))
    twin = record("rice/test_private/000.png", "test_private", "unknown")
    manifest = without[3].manifest
    without[3] = replace(without[3], manifest=replace(manifest, records=(*manifest.records, twin)))
    with pytest.raises(ExportError) as caught:
        write_submission(without, tmp_path / "submission.tar.gz", "patchcore")
    assert list(caught.value.faults) == [
        "walnuts: the category is missing; the server evaluates all 8",
        "can/test_private/001_regular.png: no anomaly map",
        "fabric: no pixel threshold: one image only",
        "fruit_jelly/test_private_mixed: no images; expected the private split as published",
        "rice/test_private/000.png: no anomaly map",
        "rice/test_private/000.png: would be called 000_regular like rice/test_private/000_regular.png",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"maps"}


def test_an_earlier_submission_is_replaced_and_nothing_else_is(
    categories: list[CategoryMaps], tmp_path: Path
) -> None:
    output = tmp_path / "submission.tar.gz"
    output.write_bytes(b"somebody's")
    with pytest.raises(FileExistsError, match="not written by `uad export submission`"):
        write_submission(categories, output, "patchcore")
    assert output.read_bytes() == b"somebody's"
    output.unlink()
    write_submission(categories, output, "patchcore")
    write_submission(categories, output, "other")
    assert json.loads((tmp_path / "submission.tar.gz.uad_export.json").read_text())["detector"] == "other"
    with pytest.raises(ExportError, match=r"\.tar\.gz"):
        write_submission(categories, tmp_path / "submission.zip", "patchcore")
