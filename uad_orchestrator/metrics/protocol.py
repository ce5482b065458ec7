"""Evaluation protocols: what is measured on a category, as the papers of the public sets measure it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uad_orchestrator.metrics.catalogue import AUPRO_LIMITS
from uad_orchestrator.metrics.pixels.counts import Overlap, overlap_name


@dataclass(frozen=True)
class EvaluationProtocol:
    """What is measured beside the image and pixel AUROC, AP and F1-max.

    Attributes:
        aupro_limits: false-positive rates up to which AUPRO integrates.
        spro_limits: the same for sPRO, which needs ground truth in channels; it stands in AUPRO's place.
        averaged_types: the defect types over which image AUROC, sPRO and the AUROC of map maxima (which is
            measured then, too) are averaged, each type against all normals; none: all test images together.
        seg_f1: F1 of the pixels at mean + 3 std of the maps of held-out normal images.
        aupimo: per-image overlap at shared false-positive rates of 1e-5 to 1e-4.

    >>> EvaluationProtocol(seg_f1=True).overlap_names, EvaluationProtocol(seg_f1=True).extra_names
    (('aupro_0.3', 'aupro_0.05'), ('seg_f1',))
    """

    aupro_limits: tuple[float, ...] = AUPRO_LIMITS
    spro_limits: tuple[float, ...] = ()
    averaged_types: tuple[str, ...] = ()
    seg_f1: bool = False
    aupimo: bool = False

    @property
    def overlap(self) -> Overlap:
        """Whether regions or saturated channels are overlapped."""
        return "spro" if self.spro_limits else "pro"

    @property
    def overlap_limits(self) -> tuple[float, ...]:
        """The limits of AUPRO, or of sPRO."""
        return self.spro_limits or self.aupro_limits

    @property
    def overlap_names(self) -> tuple[str, ...]:
        """``aupro_<limit>``, or ``spro_<limit>``."""
        return tuple(overlap_name(self.overlap, limit) for limit in self.overlap_limits)

    @property
    def extra_names(self) -> tuple[str, ...]:
        """The figures of maps that only some protocols have."""
        asked = {"seg_f1": self.seg_f1, "aupimo": self.aupimo, "map_max_auroc": bool(self.averaged_types)}
        return tuple(name for name, wanted in asked.items() if wanted)

    @property
    def averaged_names(self) -> tuple[str, ...]:
        """The figures that are means over ``averaged_types``."""
        return ("image_auroc", "map_max_auroc", *self.overlap_names) if self.averaged_types else ()

    def recipe(self) -> dict[str, Any]:
        """Everything that changes a figure: part of the version.

        Returns:
            limits and what else is measured, as JSON values; what is not measured does not stand there.
        """
        recipe: dict[str, Any] = {}
        if self.spro_limits:
            recipe["spro_limits"] = list(self.spro_limits)
        else:
            recipe["aupro_limits"] = list(self.aupro_limits)
        if self.averaged_types:
            recipe["averaged_types"] = list(self.averaged_types)
        return recipe | {name: True for name in ("seg_f1", "aupimo") if getattr(self, name)}


PROTOCOLS: Mapping[str, EvaluationProtocol] = {
    "mvtec_ad": EvaluationProtocol(),
    "mvtec_loco": EvaluationProtocol(
        aupro_limits=(),
        spro_limits=(0.01, 0.05, 0.1, 0.3, 1.0),
        averaged_types=("logical_anomalies", "structural_anomalies"),
    ),
    "mvtec_ad2": EvaluationProtocol(aupro_limits=(0.05,), seg_f1=True),
}
"""The protocols of MVTec AD, MVTec LOCO AD and MVTec AD 2; a layout without one of its own is measured as MVTec AD."""
