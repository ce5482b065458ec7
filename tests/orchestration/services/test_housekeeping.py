"""``uad gc`` on a project: embeddings that no detector uses any more go, the others stay."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.services.housekeeping import collect


def test_embeddings_of_an_earlier_preset_are_collected(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path / "home", {"alpha": ["disc"]})
    assert workshop.refresh().embedded_images == 20  # by two presets
    workshop.edit(lambda values: values["presets"]["bright"][0]["illumination"].update(gamma=1.2))
    assert workshop.refresh().embedded_images == 10
    spaces = workshop.home / ".uad/embeddings"
    before = set(spaces.iterdir())
    assert len(before) == 3
    assert not collected(workshop), "they are young"
    texts = spaces / "tower/texts/ab/abcd.npz"
    texts.parent.mkdir(parents=True)
    texts.write_bytes(b"small, and asked for by whatever tower is loaded next")
    long_ago = time.time() - 7200
    for path in spaces.rglob("*"):
        os.utime(path, (long_ago, long_ago))
    workshop.edit(lambda values: values["detectors"].update(unread={"model": "vision_anomalydino"}))
    assert not collected(workshop), "what a cell without its weights would use is not known"
    workshop.edit(lambda values: values["detectors"].pop("unread"))
    (gone,) = collected(workshop)
    assert before - set(spaces.iterdir()) == {Path(gone)}
    assert texts.is_file()
    assert workshop.plan().stale == ()
    workshop.edit(lambda values: values["detectors"]["patchcore"].update(coreset={"ratio": 0.2}))
    assert workshop.refresh().embedded_images == 0, "what is used is kept"


def collected(workshop: Workshop) -> list[str]:
    with open_instance(workshop.project) as instance:
        found = collect(workshop.project, instance, dry_run=False)
    return [str(left.what) for left in found.leftovers if "embeddings" in str(left.what)]
