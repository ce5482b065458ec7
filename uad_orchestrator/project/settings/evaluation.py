"""The section of what is measured, and when the checks speak up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import (
    Field,
    field_validator,
)

from uad_orchestrator.metrics.protocol import PROTOCOLS, EvaluationProtocol
from uad_orchestrator.project.settings.section import Section


class EvaluationSettings(Section):
    """What differs from the protocols that the layouts come with."""

    protocol: str | Mapping[str, str] | None = Field(
        None, description="mvtec_ad, mvtec_loco or mvtec_ad2: of all datasets, or by dataset; else by layout"
    )
    aupro_limits: tuple[float, ...] | None = Field(
        None, description="false-positive rates AUPRO integrates to"
    )
    spro_limits: tuple[float, ...] | None = Field(None, description="false-positive rates sPRO integrates to")
    seg_f1: bool | None = Field(
        None, description="F1 of the pixels at mean + 3 std of held-out normals' maps"
    )
    aupimo: bool = Field(False, description="per-image overlap at false-positive rates of 1e-5 to 1e-4")
    roi_metrics: Literal["exclude", "include"] = Field(
        "exclude",
        exclude_if=lambda choice: (
            choice == "exclude"
        ),  # so that what was measured before there was one stays current
        description="pixels outside a preset's region of interest, in the pixel metrics",
    )

    def of(self, dataset: str, layout: str) -> EvaluationProtocol:
        """The protocol of a dataset: the one named for it, else its layout's, with what the keys change.

        >>> EvaluationSettings().of("parts", "folder").aupro_limits
        (0.3, 0.05)
        """
        named = self.protocol if isinstance(self.protocol, str) else (self.protocol or {}).get(dataset)
        protocol = PROTOCOLS[named] if named else PROTOCOLS.get(layout, PROTOCOLS["mvtec_ad"])
        changes: dict[str, Any] = {"aupimo": self.aupimo}
        if self.seg_f1 is not None:
            changes["seg_f1"] = self.seg_f1
        if protocol.overlap == "spro" and self.spro_limits:
            changes["spro_limits"] = self.spro_limits
        if protocol.overlap == "pro" and self.aupro_limits:
            changes["aupro_limits"] = self.aupro_limits
        return replace(protocol, **changes)

    @field_validator("aupro_limits", "spro_limits")
    @classmethod
    def _in_range(cls, limits: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if limits is None:
            return None
        if not limits or any(not 0 < limit <= 1 for limit in limits):
            raise ValueError(f"holds {list(limits)}: limits are false-positive rates above 0, at most 1")
        if len(set(limits)) != len(limits):
            raise ValueError(f"holds {list(limits)}: a limit stands there twice")
        return limits


class ChecksSettings(Section):
    """When the asset checks speak up. Never part of a version."""

    metric_drop: float = Field(
        0.02, ge=0, description="a metric that falls by more than this against the version before"
    )
    false_positive_level: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="more normal test images above the threshold, or fewer, than chance gives with this probability",
    )
