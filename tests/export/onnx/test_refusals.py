"""What cannot be exported is named, before anything is computed; nothing is fitted or built here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.export.onnx.cells import RESNET, VIT, unfitted
from uad_orchestrator.export import ExportError, write_onnx
from uad_orchestrator.export.onnx import refusals as module
from uad_orchestrator.export.onnx.refusals import fixed_size, refusals

ROI = [{"roi": {"top": 0.2}}]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another detector": ({"model": "vision_openclip_patchknn"}, "detector vision_openclip_patchknn: "),
    "tiles": ({"tiling": {"tile_size": 64}}, "tiling: "),
    "object mask": ({"model": "vision_anomalydino", "embedder": VIT, "object_mask": True}, "object_mask: "),
    "small regions": ({"maps": {"min_area": 9}}, "maps.min_area: "),
    "an index": ({"arrays": {"cells": np.zeros((2, 8))}}, "index: ivf: "),
    "clahe": ({"preset": [{"illumination": "clahe"}]}, "preset step illumination: clahe: "),
    "bilateral": ({"preset": ["denoise", {"denoise": "bilateral"}]}, "preset step denoise: bilateral: "),
    "lab": ({"preset": [{"color_space": "lab"}]}, "preset step color_space: lab: "),
    "filter_bank": ({"embedder": {"name": "filter_bank"}}, "embedder filter_bank: "),
    "half precision": ({"embedder": {**RESNET, "compute": "bfloat16"}}, "embedder.compute: bfloat16: "),
    "OpenCLIP at any size": (
        {"embedder": {"name": "open_clip/ViT-B-16", "resize": "shorter_edge"}}, "embedder.resize: shorter_edge of ",
    ),
    "16 bits": ({"fitted_on": {"bits": [16]}}, "images of 16 bits: "),
    "a roi of several sizes": (
        {"preset": ROI, "fitted_on": {"sizes": [[72, 96], [64, 64]]}}, "preset step roi with images of several sizes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_names_what_it_is_about(what: str, tmp_path: Path) -> None:
    values, named = REFUSED[what]
    bundle = unfitted(**values)
    (fault,) = refusals(bundle)
    assert fault.startswith(named)
    with pytest.raises(ExportError, match="cannot be exported as ONNX") as raised:
        write_onnx(bundle, tmp_path / "cell.onnx", [])
    assert raised.value.faults == (fault,)
    assert list(tmp_path.iterdir()) == []


def test_all_of_them_are_named_at_once() -> None:
    bundle = unfitted(preset=[{"illumination": "clahe"}, {"color_space": "lab"}], maps={"min_area": 9})
    assert len(refusals(bundle)) == 3


def test_a_file_that_would_be_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_FILE", 100)
    (fault,) = refusals(unfitted())
    assert fault.startswith("a memory bank of 0.0 GB") and "lower coreset.ratio" in fault


@pytest.mark.parametrize(
    "values",
    [{}, {"embedder": VIT}, {"embedder": {"name": "open_clip/ViT-B-16"}}, {"embedder": {"name": "mobilenetv2_100"}},
     {"preset": ROI}, {"fitted_on": {"bits": [8, 16]}}, {"embedder": {**RESNET, "compute": "tf32"}}],
    ids=str,
)  # fmt: skip
def test_others_are_not(values: dict[str, Any]) -> None:
    assert refusals(unfitted(**values)) == []


def test_a_region_of_interest_fixes_the_size() -> None:
    assert fixed_size(unfitted(preset=ROI)) == (72, 96)
    assert fixed_size(unfitted()) is None


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uad_orchestrator.extras.find_spec", lambda name: None)
    from tests.export.onnx.cells import test_pictures

    with pytest.raises(ImportError, match=r"pip install 'uad_orchestrator\[onnx\]'"):
        write_onnx(unfitted(), tmp_path / "cell.onnx", test_pictures())
