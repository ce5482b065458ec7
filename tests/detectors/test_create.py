"""``create_detector``: the embedder as a project file has it."""

from __future__ import annotations

import numpy as np
import pytest

from uad_orchestrator.detectors import create_detector
from uad_orchestrator.embedders.settings import EmbedderSettings

NORMALS = np.random.default_rng(0).integers(90, 110, (6, 48, 48, 3), dtype=np.uint8)


def test_an_embedder_is_given_as_in_a_project_file() -> None:
    settings = {"name": "filter_bank", "image_size": 32}
    by_keys = create_detector("vision_patchcore", embedder=settings, contamination=0.2).fit(NORMALS)
    by_model = create_detector(
        "vision_patchcore", embedder=EmbedderSettings(name="filter_bank", image_size=32), contamination=0.2
    ).fit(NORMALS)
    assert np.array_equal(by_keys.decision_function(NORMALS), by_model.decision_function(NORMALS))
    other = create_detector("vision_patchcore", contamination=0.2).fit(NORMALS)
    assert not np.array_equal(by_keys.decision_function(NORMALS), other.decision_function(NORMALS))


def test_settings_without_a_name_are_laid_over_the_detectors_own() -> None:
    default = create_detector("vision_patchcore", contamination=0.2).fit(NORMALS)
    same = create_detector("vision_patchcore", embedder={}, contamination=0.2).fit(NORMALS)
    assert np.array_equal(default.decision_function(NORMALS), same.decision_function(NORMALS))


@pytest.mark.parametrize(
    ("embedder", "message"),
    [
        ({"name": "filter_bank", "image_sice": 3}, r"embedder\.image_sice"),
        ({"name": "filter_bank", "image_size": -1}, r"embedder\.image_size"),
        ({"name": "resnet81"}, "resnet18"),
    ],
)
def test_wrong_settings_name_their_key(embedder: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_detector("vision_patchcore", embedder=embedder)


def test_what_cannot_embed_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="embedder is a list"):
        create_detector("vision_patchcore", embedder=["filter_bank"])  # type: ignore[arg-type]
