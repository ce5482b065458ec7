"""What people do to a project, as functions of a workshop, and which stages that concerns by the design's own table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.orchestration.versions.test_graph import DESIGN
from tests.orchestration.workshop import Workshop, defective_image, normal_image, write_image
from uad_orchestrator.orchestration.versions.graph import STAGES

Edit = Callable[[Workshop], None]


def below(inputs: set[str]) -> set[str]:
    """The stages that depend on any of these inputs, by the design's own table."""
    found: set[str] = set()
    for stage in STAGES:
        if DESIGN[stage][1] & (inputs | found):
            found.add(stage)
    return found


def image(path: str, seed: int = 4000) -> Edit:
    """Put another image there, in category disc."""
    return lambda workshop: write_image(workshop.home / "data/alpha/disc" / path, normal_image(seed))


def mask(workshop: Workshop) -> None:
    """Mark more of the first defect of category disc."""
    _, changed = defective_image(0)
    changed[:5] = 255
    write_image(workshop.home / "data/alpha/disc/ground_truth/scratch/000_mask.png", changed)


def setting(**values: Any) -> Edit:
    """Change settings of detector one."""
    return lambda workshop: workshop.edit(lambda project: project["detectors"]["one"].update(values))


def section(name: str, **values: Any) -> Edit:
    """Change a section of the project file."""
    return lambda workshop: workshop.edit(lambda project: project.setdefault(name, {}).update(values))


def moved(workshop: Workshop) -> None:
    """Put the data elsewhere."""
    (workshop.home / "data/alpha").rename(workshop.home / "data/elsewhere")
    workshop.edit(lambda project: project["datasets"]["alpha"].update(root="data/elsewhere"))


def renamed_preset(workshop: Workshop) -> None:
    """Call the preset bright brighter."""
    workshop.edit(lambda project: project["presets"].update(brighter=project["presets"].pop("bright")))
    setting(preset="brighter")(workshop)


def gamma(workshop: Workshop) -> None:
    """Change a parameter of the preset bright."""
    workshop.edit(lambda project: project["presets"]["bright"][0]["illumination"].update(gamma=1.5))


def touched(workshop: Workshop) -> None:
    """Make every image look newer than it is."""
    for path in workshop.home.rglob("*.png"):
        path.touch()
