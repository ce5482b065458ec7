"""How often the intervals of a small test set cover the true figure, and how wide they are, by simulation.

Nominal is .95. Image AUROCs against the percentile bootstrap; rates without simulation, by summing over all outcomes;
means over categories, as the board has them; pixel metrics by resampling images of a large population; and what the
pixel intervals add to a cell's evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from benchmarks.made_up.test_sets import (
    PixelPopulation,
    Population,
    auroc,
    replicates,
    rows_of,
    weighted,
)
from benchmarks.pixel_counts import base_maps
from benchmarks.rows import BenchmarkRow
from uad_orchestrator.metrics.bootstrap import Interval, interval
from uad_orchestrator.metrics.intervals import (
    auroc_interval,
    evenly_weighted,
    interval_of_auroc,
    left_out_interval,
    mean_auroc_interval,
    rate_interval,
)
from uad_orchestrator.metrics.pixels.counts import PixelCounts
from uad_orchestrator.metrics.pixels.left_out import CountsPerImage, outline_of, points_of
from uad_orchestrator.metrics.pixels.weighed_pixels import weighed_by_regions
from uad_orchestrator.postprocess.map_set import MapSet

LEAST, MOST = 0.93, 0.985
LEAST_BY_RESAMPLING = 0.9
"""Of intervals that come from the images drawn alone, which know nothing of those that were not."""
DRAWS, DRAWS_OF_MEANS, REPLICATES = 3000, 400, 400

AUROC_CASES = tuple(
    Population(m, n, true, spread)
    for spread in (1.0, 3.0)
    for m, n, true in ((41, 119, 0.95), (20, 20, 0.95), (20, 60, 0.99), (8, 20, 0.97), (5, 10, 0.9), (2, 8, 0.999))
)  # fmt: skip
KINDS_CASES = (
    (Population(40, 30, 0.8), Population(40, 80, 0.95)),
    (Population(20, 10, 0.97), Population(20, 60, 0.9)),
    (Population(8, 5, 0.9), Population(8, 20, 0.98)),
    (Population(20, 3, 0.7), Population(20, 60, 0.999)),
)
PIXEL_CASES = (("weak defects", PixelPopulation(3.0, 0.2)), ("uneven images", PixelPopulation(6.0, 0.5)))


class Coverage(NamedTuple):
    """How often intervals cover, and how wide they are.

    Attributes:
        share: of the intervals, those that hold the true figure.
        width: of them on average.
        least_width: of the narrowest.
    """

    share: float
    width: float
    least_width: float

    @classmethod
    def of(cls, intervals: Sequence[Interval], true: float) -> Coverage:
        """Those of intervals of one figure."""
        low, high = np.array(intervals).T
        widths = high - low
        return cls(float(((low <= true) & (true <= high)).mean()), float(widths.mean()), float(widths.min()))


def run() -> list[BenchmarkRow]:
    return [*_aurocs(), *_means_over_kinds(), *_rates(), *_means(), *_pixels(), _cost()]


def of_aurocs(case: Population, draws: int, *, bootstrap: bool = False, seed: int = 0) -> Coverage:
    """Of intervals of an image AUROC: Newcombe's, or the percentile bootstrap's."""
    rng = np.random.default_rng(seed)
    sets = [case.drawn(rng) for _ in range(draws)]
    found = [interval(replicates(one, REPLICATES)) if bootstrap else auroc_interval(*one) for one in sets]
    return Coverage.of(found, case.auroc)


def of_means(cases: Sequence[Population], draws: int, *, bootstrap: bool = False, seed: int = 0) -> Coverage:
    """Of intervals of the mean image AUROC over categories: those of the board, or the percentile bootstrap's."""
    rng = np.random.default_rng(seed)
    images = [(case.normals, case.defects) for case in cases]
    found = []
    for _ in range(draws):
        sets = [case.drawn(rng) for case in cases]
        drawn = np.mean([replicates(one, REPLICATES) for one in sets], axis=0)
        mean = float(np.mean([auroc(one) for one in sets]))
        found.append(interval(drawn) if bootstrap else mean_auroc_interval(mean, images, drawn))
    return Coverage.of(found, float(np.mean([case.auroc for case in cases])))


def of_kinds(kinds: Sequence[Population], draws: int, *, seed: int = 0) -> Coverage:
    """Of intervals of a mean over kinds of defects against the same normal images, as MVTec LOCO has it."""
    rng = np.random.default_rng(seed)
    normals, defects, found = kinds[0].normals, evenly_weighted([kind.defects for kind in kinds]), []
    for _ in range(draws):
        of_normals = rng.standard_normal(normals)
        mean = float(np.mean([auroc((of_normals, kind.drawn(rng)[1])) for kind in kinds]))
        found.append(interval_of_auroc(mean, normals, defects))
    return Coverage.of(found, float(np.mean([kind.auroc for kind in kinds])))


def of_pixels(
    case: PixelPopulation, normals: int, defects: int, draws: int, *, bootstrap: bool = False, seed: int = 0
) -> dict[str, Coverage]:
    """Of intervals of pixel metrics: the jackknife's over images, or the percentile bootstrap's."""
    rng = np.random.default_rng(seed)
    counts = case.counts()
    share = np.repeat([normals, defects], case.images)[None] / case.images
    true = {name: float(found[0]) for name, found in weighted(counts, share).items()}
    intervals: dict[str, list[Interval]] = {name: [] for name in true}
    for _ in range(draws):
        chosen = np.concatenate(
            [
                rng.choice(case.images, normals, replace=False),
                case.images + rng.choice(case.images, defects, replace=False),
            ]
        )
        drawn = rows_of(counts, chosen)
        for name, found in (
            _bootstrapped(rng, drawn, normals) if bootstrap else _left_out(drawn, normals)
        ).items():
            intervals[name].append(found)
    return {name: Coverage.of(found, true[name]) for name, found in intervals.items()}


def _left_out(drawn: CountsPerImage, normals: int) -> dict[str, Interval]:
    whole = weighted(drawn, np.ones((1, drawn.kinds.size)))
    left_out = drawn.without_each("pro", (0.3, 0.05))
    return {
        name: found
        for name, parts in left_out.items()
        if (found := left_out_interval(float(whole[name][0]), [parts[:normals], parts[normals:]])) is not None
    }


def _bootstrapped(rng: np.random.Generator, drawn: CountsPerImage, normals: int) -> dict[str, Interval]:
    sizes = (normals, drawn.kinds.size - normals)
    weights = np.hstack([rng.multinomial(n, np.full(n, 1 / n), REPLICATES) for n in sizes]).astype(float)
    return {name: interval(values[np.isfinite(values)]) for name, values in weighted(drawn, weights).items()}


def categories(n: int, *, nearly_perfect: bool = False) -> list[Population]:
    """Categories as benchmarks have them, of different sizes and difficulty; or all of them nearly solved."""
    rng = np.random.default_rng(7)
    if nearly_perfect:
        return [Population(20, 40, 0.999)] * n
    return [
        Population(
            int(rng.integers(15, 60)), int(rng.integers(30, 140)), float(1 - 10 ** rng.uniform(-3, -0.7))
        )
        for _ in range(n)
    ]


def _aurocs() -> list[BenchmarkRow]:
    rows = []
    for case in AUROC_CASES:
        found, before = of_aurocs(case, DRAWS), of_aurocs(case, DRAWS // 10, bootstrap=True)
        details = {"width": found.width, "bootstrap covers": before.share, "its width": before.width}
        name = f"image AUROC, {case.name}"
        rows.append(_covers(name, found.share, LEAST, details))
        if case.normals > 2:
            rows.append(BenchmarkRow("intervals", name, "coverage", found.share, "", MOST, "lower"))
        rows.append(
            BenchmarkRow("intervals", name, "least width", found.least_width, "", 1e-6, "higher")
        )  # never 0
    return rows


def _means_over_kinds() -> list[BenchmarkRow]:
    rows = []
    for kinds in KINDS_CASES:
        found = of_kinds(kinds, DRAWS)
        name = f"mean over two kinds, {kinds[0].normals} + {' + '.join(str(kind.defects) for kind in kinds)}"
        rows.append(_covers(name, found.share, LEAST, {"width": found.width}))
    return rows


def _rates() -> list[BenchmarkRow]:
    rates = np.linspace(0.005, 0.15, 400)
    rows = []
    for images in (5, 10, 20, 41, 119):
        exact = [rate_interval(above, images) for above in range(images + 1)]
        clopper, wilson = (least_coverage(found, rates) for found in (exact, wilsons(images)))
        details = {"width of 0 %": exact[0].high, "Wilson covers": wilson}
        rows.append(_covers(f"rate up to .15 of {images} images, its worst", clopper, 0.95, details))
    return rows


def least_coverage(intervals: Sequence[Interval], rates: np.ndarray) -> float:
    """The least over true rates, where ``intervals[k]`` is that of k images above the threshold."""
    from scipy.stats import binom

    images = len(intervals) - 1
    low, high = np.array(intervals).T
    outcomes = binom.pmf(np.arange(images + 1)[:, None], images, rates)
    covers = (low[:, None] <= rates + 1e-12) & (rates - 1e-12 <= high[:, None])
    return float((outcomes * covers).sum(axis=0).min())


def wilsons(images: int) -> list[Interval]:
    """Wilson's intervals of a rate, of each outcome."""
    z = 1.959964
    rates = np.arange(images + 1) / images
    centre, spread = (
        rates + z**2 / 2 / images,
        z * np.sqrt(rates * (1 - rates) / images + (z / 2 / images) ** 2),
    )
    low, high = ((centre + sign * spread) / (1 + z**2 / images) for sign in (-1, 1))
    return [Interval(*ends) for ends in zip(low, high, strict=True)]


def _means() -> list[BenchmarkRow]:
    rows = []
    for nearly_perfect in (False, True):
        for n in (3, 5, 10, 15):
            cases = categories(n, nearly_perfect=nearly_perfect)
            found, before = (of_means(cases, DRAWS_OF_MEANS, bootstrap=b) for b in (False, True))
            name = f"mean image AUROC over {n} {'nearly perfect' if nearly_perfect else 'unlike'} categories"
            details = {"width": found.width, "bootstrap covers": before.share, "its width": before.width}
            rows.append(_covers(name, found.share, LEAST if n < 10 else LEAST_BY_RESAMPLING, details))
    return rows


def _pixels() -> list[BenchmarkRow]:
    rows = []
    for label, case in PIXEL_CASES:
        for normals, defects in ((41, 119), (20, 20), (8, 20), (5, 10)):
            found, before = (
                of_pixels(case, normals, defects, DRAWS_OF_MEANS, bootstrap=bootstrap)
                for bootstrap in (False, True)
            )
            for name, coverage in found.items():
                details = {"width": coverage.width, "bootstrap covers": before[name].share}
                rows.append(
                    _covers(
                        f"{name}, {label}, {normals} + {defects}",
                        coverage.share,
                        LEAST_BY_RESAMPLING,
                        details,
                    )
                )
    return rows


def _covers(case: str, share: float, bar: float, details: Mapping[str, float]) -> BenchmarkRow:
    return BenchmarkRow("intervals", case, "coverage", share, "", bar, "higher", dict(details))


def _cost() -> BenchmarkRow:
    """What outlines and intervals add to reading and counting maps and masks: a cell does much more than that."""
    import cv2

    maps, masks = base_maps(80, 512, seed=0)
    kinds = ["defect" if mask.any() else "good" for mask in masks]
    with TemporaryDirectory() as folder:
        stored = MapSet(Path(folder))
        for place, kind in enumerate(kinds):
            stored.write(f"{place}.png", kind, maps[place])
        pictures = [cv2.imencode(".png", mask.astype(np.uint8) * 255)[1] for mask in masks]

        def run_once() -> tuple[float, float]:
            counts, started = PixelCounts(), time.perf_counter()
            weighed = []
            for place, kind in enumerate(kinds):
                mask = cv2.imdecode(pictures[place], cv2.IMREAD_GRAYSCALE) > 0
                weighed.append(weighed_by_regions(stored.read(f"{place}.png", kind), mask))
                counts.add(weighed[-1])
            counts.compute()
            between = time.perf_counter()
            outlines = [outline_of(pixels, points_of(len(weighed))) for pixels in weighed]
            CountsPerImage.of(outlines, kinds).without_each("pro", (0.3, 0.05))
            return between - started, time.perf_counter() - between

        runs = [run_once() for _ in range(5)]
    counting, intervals = (min(seconds) for seconds in zip(*runs, strict=True))
    details = {"reading and counting, s": counting, "intervals, s": intervals}
    share = intervals / counting
    return BenchmarkRow(
        "intervals", "80 maps of 512 x 512", "of reading and counting", share, "", 0.1, "lower", details
    )
