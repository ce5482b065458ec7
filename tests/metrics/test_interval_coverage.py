"""How often intervals cover the true figure, in short; ``python -m benchmarks intervals`` has the long form."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.intervals import (
    AUROC_CASES,
    KINDS_CASES,
    LEAST,
    LEAST_BY_RESAMPLING,
    MOST,
    PIXEL_CASES,
    categories,
    least_coverage,
    of_aurocs,
    of_kinds,
    of_means,
    of_pixels,
    wilsons,
)
from benchmarks.made_up.test_sets import Population
from uad_orchestrator.metrics.intervals import rate_interval


@pytest.mark.parametrize("case", AUROC_CASES, ids=lambda case: case.name)
def test_the_interval_of_an_image_auroc_covers_and_has_a_width(case: Population) -> None:
    found = of_aurocs(case, 2000)
    assert LEAST <= found.share <= (MOST if case.normals > 2 else 1) + 0.002
    assert found.least_width > 0


@pytest.mark.parametrize("case", AUROC_CASES[:6], ids=lambda case: case.name)
def test_the_percentile_bootstrap_does_not(case: Population) -> None:
    found = of_aurocs(case, 150, bootstrap=True)
    assert found.share < LEAST
    assert found.least_width == 0 or case.normals > 20, "of no width where the separation is perfect"


@pytest.mark.parametrize("kinds", KINDS_CASES, ids=lambda kinds: f"{kinds[0].name} and {kinds[1].name}")
def test_so_does_that_of_a_mean_over_kinds_of_defects(kinds: tuple[Population, ...]) -> None:
    assert of_kinds(kinds, 1000).share >= LEAST


def test_a_rate_is_covered_whatever_it_is_and_wilsons_interval_does_not() -> None:
    rates = np.linspace(0.005, 0.995, 4001)
    for images in (3, 20, 119):
        assert least_coverage([rate_interval(k, images) for k in range(images + 1)], rates) >= 0.95
        assert least_coverage(wilsons(images), rates) < LEAST


@pytest.mark.parametrize("nearly_perfect", [False, True])
@pytest.mark.parametrize("n", [3, 5])
def test_a_mean_over_few_categories_is_covered(n: int, nearly_perfect: bool) -> None:
    cases = categories(n, nearly_perfect=nearly_perfect)
    found = of_means(cases, 200)
    assert found.share >= LEAST - 0.01 and found.least_width > 0
    if nearly_perfect:
        assert of_means(cases, 100, bootstrap=True).share < 0.9


def test_a_mean_over_ten_categories_is_covered() -> None:
    assert of_means(categories(10), 150).share >= LEAST_BY_RESAMPLING


@pytest.mark.parametrize(("normals", "defects"), [(20, 20), (8, 20)])
def test_pixel_metrics_are_covered_by_resampling_images(normals: int, defects: int) -> None:
    found = of_pixels(PIXEL_CASES[0][1], normals, defects, 250)
    assert found.keys() == {"pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro_0.3", "aupro_0.05"}
    for name, coverage in found.items():
        assert LEAST_BY_RESAMPLING <= coverage.share < 1, name
