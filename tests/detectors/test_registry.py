"""The registry: light to import, strict with words, each setting in one stage."""

import subprocess
import sys

import pytest

from tests.detectors.conftest import CellMeans
from uad_orchestrator.detectors import DETECTORS, create_detector
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.registry import detector_spec


def test_importing_it_loads_nothing_heavy() -> None:
    script = (
        "import sys, uad_orchestrator.detectors.registry;"
        "heavy = ('torch', 'cv2', 'scipy', 'sklearn', 'pyarrow', 'faiss', 'timm');"
        "print([m for m in heavy if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    assert output.strip() == "[]"


@pytest.mark.parametrize("model", sorted(DETECTORS))
def test_each_setting_belongs_to_exactly_one_stage(model: str) -> None:
    spec = DETECTORS[model]
    fit, scoring = set(spec.fit.model_fields), set(spec.scoring.model_fields)
    assert not fit & scoring
    assert "maps" not in fit | scoring
    assert set(spec.versions) == {"fit", "scoring", "maps"}
    assert issubclass(spec.load(), Detector)
    assert spec.model == model


@pytest.mark.parametrize("model", sorted(m for m in DETECTORS if DETECTORS[m].default_embedder is not None))
def test_settings_are_stored_as_given(model: str) -> None:
    given = {"seed": 3, "n_neighbors": 2, "contamination": 0.1, "topk": 0.5}
    idle = {"contamination"} if DETECTORS[model].transductive else set()
    known = {key: value for key, value in given.items() if key in DETECTORS[model].keys and key not in idle}
    detector = create_detector(model, embedder=CellMeans(), **known, maps={"gaussian_sigma": 2})
    stored = detector.fit_settings.model_dump() | detector.scoring_settings.model_dump()
    assert {key: stored[key] for key in known} == known
    assert detector.map_settings.gaussian_sigma == 2
    assert detector.map_settings.sigma_space == DETECTORS[model].default_maps.sigma_space


def test_the_recipes_defaults() -> None:
    patchcore, dino = (DETECTORS[m] for m in ("vision_patchcore", "vision_anomalydino"))
    assert patchcore.cut({}).fit.coreset.method == "batched_greedy"  # type: ignore[attr-defined]
    assert patchcore.cut({}).fit.coreset.ratio == 0.1  # type: ignore[attr-defined]
    assert patchcore.cut({}).scoring.distance == "l2_squared"  # type: ignore[attr-defined]
    assert patchcore.default_maps.sigma_space == "input"
    assert dino.cut({}).fit.coreset.method == "none"  # type: ignore[attr-defined]
    assert dino.cut({}).scoring.aggregation == "topk_mean"  # type: ignore[attr-defined]
    assert dino.default_maps.sigma_space == "image"


def test_misspelt_words_are_errors_with_the_right_one() -> None:
    with pytest.raises(ValueError, match="did you mean 'vision_patchcore'"):
        detector_spec("vision_patchcor")
    with pytest.raises(ValueError, match=r"n_neighbours.*did you mean 'n_neighbors'"):
        create_detector("vision_patchcore", embedder=CellMeans(), n_neighbours=3)
    with pytest.raises(ValueError, match="ratoi"):
        create_detector("vision_patchcore", embedder=CellMeans(), coreset={"ratoi": 0.1})
    with pytest.raises(ValueError, match="distance"):
        create_detector("vision_patchcore", embedder=CellMeans(), distance="l1")


def test_no_weights_no_detector() -> None:
    pytest.importorskip("torch", reason="extra torch not installed")
    import numpy as np

    detector = create_detector("vision_patchcore", embedder="resnet18")
    with pytest.raises(Exception, match="weights"):
        detector.fit([np.zeros((64, 64, 3), np.uint8)] * 2)
