"""What changed in an input, as messages of the plan's reasons and of ``uad why``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uad_orchestrator.metrics.thresholds.operating_point import Pin
from uad_orchestrator.storage.lineage.differences import changes, items_changed

Content = Mapping[str, Any]

IMAGE_WORDS = {
    "dataset_category": "image",
    "normal_images": "normal image",
    "test_images": "test image",
}

CALIBRATION = "calibration"
"""Among the contents of a checkpoint: the images of the folder that it is calibrated on."""


def input_words(asset: str, before: Content | None, after: Content | None, preset: str) -> list[str]:
    """What changed between two contents of an input; None where one was not kept.

    Args:
        preset: what the detector's preprocessing preset is called.

    >>> steps = [{"steps": [{"step": "illumination", "gamma": gamma}]} for gamma in (1.0, 1.2)]
    >>> input_words("preprocessing_preset", *steps, "robust")
    ['preset robust changed: gamma 1.0 -> 1.2']
    """
    name = f"preset {preset}" if asset == "preprocessing_preset" else asset.replace("_", " ")
    if before is None or after is None:
        return [f"{name} changed"]
    if asset == "checkpoint":
        return checkpoint_words(before, after)
    if asset in IMAGE_WORDS:
        words = file_words(before.get("images", []), after.get("images", []), IMAGE_WORDS[asset])
        return words or [f"{name} changed"]
    if asset == "ground_truth" and before.get("defects") != after.get("defects"):
        return ["defects_config.json changed"]
    if asset == "ground_truth":
        return file_words(before.get("masks", []), after.get("masks", []), "mask") or ["test labels changed"]
    listed = ", ".join(dict.fromkeys(change.in_short() for change in changes(before, after)))
    return [f"{name} changed: {listed}"]


def file_words(before: list[Content], after: list[Content], word: str) -> list[str]:
    """How two lists of files differ.

    >>> file_words([{"path": "a", "sha256": "1"}], [{"path": "a", "sha256": "1"}, {"path": "b"}], "mask")
    ['1 new mask']
    """
    found = items_changed(changes({"files": before}, {"files": after}))
    phrases = {"added": "new {}", "removed": "{} removed", "changed": "{} changed"}
    return [
        f"{len(names)} {phrases[kind].format(word + ('s' if len(names) != 1 else ''))}"
        for kind, names in found.items()
        if names
    ]


def checkpoint_words(before: Content, after: Content) -> list[str]:
    """Which weight file changed, by the first digits of its digest; which images calibrate it."""
    names = [name for name in {**before, **after} if name != CALIBRATION]
    pairs = [(before.get(name), after.get(name)) for name in names]
    words = [f"checkpoint changed ({_short(old)} -> {_short(new)})" for old, new in pairs if old != new]
    return words + file_words(before.get(CALIBRATION, []), after.get(CALIBRATION, []), "calibration image")


def _short(digest: str | None) -> str:
    return "none" if digest is None else f"sha256 {digest[:8]}.."


CHOSEN = ("operating_point", "review")
"""Among the settings of an artifact: what people chose for the cell."""


def chosen_words(before: Content, after: Content) -> list[str]:
    """What people chose otherwise, between the settings of two artifacts.

    >>> pin = {"fpr": 0.01, "by": "anna", "at": "2026-11-27", "why": "too many alarms"}
    >>> chosen_words({}, {"operating_point": {"image": pin}})
    ['image threshold pinned by anna on 2026-11-27: too many alarms']
    >>> chosen_words({"operating_point": {"pixel": pin}, "review": {"from_fpr": 0.1}}, {})
    ['pixel threshold no longer pinned', 'no review any more']
    """
    was, now = (settings.get("operating_point") or {} for settings in (before, after))
    words = [
        f"{of} threshold {Pin.model_validate(now[of])}" if of in now else f"{of} threshold no longer pinned"
        for of in ("image", "pixel")
        if was.get(of) != now.get(of)
    ]
    old, new = before.get("review"), after.get("review")
    if old != new:
        listed = ", ".join(change.in_short() for change in changes(old or {}, new or {}))
        words.append(f"review changed: {listed}" if new else "no review any more")
    return words
