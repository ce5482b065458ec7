"""Maps stretched by their own values are pictures, and metrics refuse them."""

from dataclasses import dataclass

import numpy as np
import pytest

from uad_orchestrator.metrics import OperatingPoint, PixelCounts
from uad_orchestrator.metrics.cell import Thresholds, evaluate_cell
from uad_orchestrator.metrics.pixels.spro import GroundTruth
from uad_orchestrator.metrics.protocol import EvaluationProtocol
from uad_orchestrator.metrics.thresholds.operating_point import SegmentationPoint
from uad_orchestrator.postprocess.display import display_map

MAP = np.random.default_rng(0).gamma(2.0, 1.0, (20, 30)).astype(np.float32)
POINT = OperatingPoint(1.0, "validation", 9, 0.1)


@dataclass
class Row:
    image: str
    label: int
    defect_type: str = "good"
    score: float = 0.5


def test_the_whole_range_is_used() -> None:
    picture = display_map(MAP)
    assert picture.dtype == np.uint8
    assert (picture.min(), picture.max()) == (0, 255)
    expected = np.interp(MAP, [MAP.min(), MAP.max()], [0, 255])
    assert np.abs(picture - expected).max() <= 0.51


def test_percentiles_leave_outliers_out() -> None:
    spiky = MAP.copy()
    spiky[0, 0] = 1e6
    assert np.median(display_map(spiky)) == 0
    low, high = np.percentile(spiky, [1, 99])
    expected = np.clip(np.interp(spiky, [low, high], [0, 255]), 0, 255)
    assert np.abs(display_map(spiky, "percentile") - expected).max() <= 0.51


def test_a_constant_map_is_black() -> None:
    assert not display_map(np.full((3, 4), 7.0)).any()


@pytest.mark.parametrize("wrong", [np.zeros((2, 2, 3)), np.array([[np.nan]]), np.zeros((0, 3))])
def test_what_is_no_map_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        display_map(wrong)


@pytest.mark.parametrize("stretch", ["min_max", "percentile"])
def test_metrics_refuse_maps_stretched_per_image(stretch: str) -> None:
    picture, mask = display_map(MAP, stretch), np.zeros(MAP.shape, bool)  # type: ignore[arg-type]
    counts = PixelCounts()
    with pytest.raises(ValueError, match="looked at"):
        counts.update(picture, mask)
    assert counts.n_images == 0
    counts.update(MAP, mask)  # the raw one is what they take
    with pytest.raises(ValueError, match=r"007\.png.*looked at"):
        evaluate_cell(
            [Row("007.png", 0)],
            lambda row: picture,
            lambda row: GroundTruth(mask),
            protocol=EvaluationProtocol(),
            thresholds=Thresholds(POINT, POINT, SegmentationPoint(1.0, "validation", 9)),
        )


def test_what_stretching_would_do_to_a_metric() -> None:
    """A normal image beside a defective one: raw they are told apart, stretched each has a 255 somewhere."""
    from sklearn.metrics import average_precision_score

    normal, defective = MAP * 0.1, MAP.copy()
    mask = np.quantile(MAP, 0.95) < MAP
    truth = np.concatenate([np.zeros(MAP.size, bool), mask.ravel()])
    pooled = {
        "raw": np.concatenate([normal.ravel(), defective.ravel()]),
        "stretched": np.concatenate([display_map(normal).ravel(), display_map(defective).ravel()]),
    }
    found = {name: average_precision_score(truth, scores) for name, scores in pooled.items()}
    assert found["raw"] > 0.99
    assert found["stretched"] < 0.7
