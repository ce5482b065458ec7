"""A small project on generated images, and what one does with it in tests: edit, refresh, look."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from uad_orchestrator.orchestration.dagster_instance.connections.held import held_connections
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.execution.refresh import RefreshResult, refresh
from uad_orchestrator.orchestration.planning.plan import Plan, Planner
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import Project, load_project
from uad_orchestrator.storage.atomic import new_file, write_text

SIDE = 64
EMBEDDER = {"name": "filter_bank", "image_size": SIDE}


def normal_image(seed: int) -> np.ndarray:
    """A disc on a grey ground, a little different for each seed: (64, 64, 3) uint8 RGB."""
    draws = np.random.default_rng(seed)
    image = draws.normal(90, 4, (SIDE, SIDE, 3))
    centre = (32 + int(draws.integers(-2, 3)), 32 + int(draws.integers(-2, 3)))
    disc = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), centre, 18, 1, -1).astype(bool)
    image[disc] += 80
    return np.clip(image.round(), 0, 255).astype(np.uint8)


def defective_image(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same with a dark scratch, and the scratch's mask (64, 64) uint8, 0 or 255."""
    image = normal_image(seed)
    mask = cv2.line(np.zeros((SIDE, SIDE), np.uint8), (24, 24), (40, 38), 255, 3)
    image[mask > 0] = 10
    return image, mask


def write_image(path: Path, image: np.ndarray) -> None:
    """Write RGB or grey pixels as PNG, aside and renamed; parents are made."""
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    with new_file(path) as aside:
        aside.write_bytes(cv2.imencode(".png", stored)[1].tobytes())


def write_category(folder: Path, seed: int, *, train: int = 6) -> None:
    """A category in the layout of MVTec AD: ``train`` normals, two normal and two defective test images."""
    for i in range(train):
        write_image(folder / f"train/good/{i:03d}.png", normal_image(seed + i))
    for i in range(2):
        write_image(folder / f"test/good/{i:03d}.png", normal_image(seed + 500 + i))
        image, mask = defective_image(seed + 700 + i)
        write_image(folder / f"test/scratch/{i:03d}.png", image)
        write_image(folder / f"ground_truth/scratch/{i:03d}_mask.png", mask)


def write_ad2_category(folder: Path, seed: int) -> None:
    """The same images in the layout of MVTec AD 2, with a validation image; private test images are the caller's."""
    write_category(folder, seed)
    (folder / "test").rename(folder / "test_public")
    (folder / "test_public/scratch").rename(folder / "test_public/bad")
    (folder / "test_public/ground_truth").mkdir()
    (folder / "ground_truth/scratch").rename(folder / "test_public/ground_truth/bad")
    write_image(folder / "validation/good/000.png", normal_image(seed + 900))


def project_file(datasets: dict[str, list[str]]) -> dict[str, Any]:
    """Three detectors that share an embedder; the second has a preset of its own."""
    patchcore = {"model": "vision_patchcore", "embedder": EMBEDDER, "coreset": {"ratio": 0.1}}
    return {
        "storage": {"root": ".uad"},
        "runtime": {"device": "cpu"},
        "datasets": {
            name: {"layout": "mvtec_ad", "root": f"data/{name}", "categories": categories}
            for name, categories in datasets.items()
        },
        "presets": {"bright": [{"illumination": {"method": "gamma", "gamma": 1.0}}]},
        "detectors": {
            "patchcore": patchcore,
            "bright": {**patchcore, "preset": "bright"},
            "dino": {
                "model": "vision_anomalydino",
                "embedder": EMBEDDER,
                "references": {"k": 3},
                "maps": {"gaussian_sigma": 2.0},
            },
        },
        "evaluation": {"aupro_limits": [0.3, 0.05]},
    }


@dataclass(frozen=True)
class Workshop:
    """A project in a folder of its own."""

    home: Path

    @classmethod
    def build(cls, home: Path, datasets: dict[str, list[str]], *, train: int = 6) -> Workshop:
        """Images and project file; nothing computed yet."""
        seed = 0
        for name, categories in datasets.items():
            for category in categories:
                write_category(home / "data" / name / category, seed, train=train)
                seed += 1000
        workshop = cls(home)
        workshop.write(project_file(datasets))
        return workshop

    def copied_to(self, home: Path) -> Workshop:
        """The same project with all that was computed, to be changed: cheaper than to refresh another one."""
        shutil.copytree(self.home, home)
        return Workshop(home)

    @property
    def project(self) -> Project:
        """The project as its file says now."""
        return load_project(self.home)

    def write(self, values: dict[str, Any]) -> None:
        """Write the project file, aside and renamed."""
        write_text(self.home / "uad.yaml", yaml.safe_dump(values, sort_keys=False))

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the project file in place."""
        values = yaml.safe_load((self.home / "uad.yaml").read_text())
        change(values)
        self.write(values)

    def refresh(self, selection: Selection | None = None, workers: int = 1) -> RefreshResult:
        """``uad refresh``."""
        with open_instance(self.project) as instance, held_connections(instance):
            return refresh(self.project, instance, selection=selection or Selection(), workers=workers)

    def plan(self, *, rehash: bool = False) -> Plan:
        """``uad plan``."""
        with open_instance(self.project) as instance:
            state = open_state(self.project, rehash=rehash)
            return Planner(state, open_store(self.project), instance).plan(Selection())


def computed(result: RefreshResult) -> set[tuple[str, str | None, str | None]]:
    """What a refresh computed anew, as (asset, category, detector); the leaderboard and reused ones left out."""
    return {
        (node.asset, node.category, node.detector)
        for node in result.materialized
        if not node.reused and node.asset not in ("leaderboard", "checkpoint")
    }
