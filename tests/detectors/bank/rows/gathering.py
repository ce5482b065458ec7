"""Notes when all patches are gathered for a calibration, which a fit in the same process saves it."""

from __future__ import annotations

from typing import Any

import pytest

from uad_orchestrator.detectors.bank.rows import refilled


def noted_gathering(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one each time."""
    times: list[int] = []
    gather = refilled.gather

    def noting(*given: Any) -> Any:
        times.append(1)
        return gather(*given)

    monkeypatch.setattr(refilled, "gather", noting)
    return times
