"""Our cluster in small, on this machine: a bucket, PostgreSQL, Ray nodes, each with a home, and one that asks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.ray_nodes import RayCluster, RayNode, ray_cluster
from tests.cluster.sleeping_embedder import SLEEP, install
from tests.documentation.code_blocks import ROOT
from tests.end_to_end.ui_process import wait_for
from tests.object_store import ObjectStore, running_store
from tests.orchestration.workshop import Workshop, project_file, write_category
from tests.plugins_anew import look_again
from tests.postgres_server import postgres_url

PATIENCE = 600.0
"""Seconds for a command; a busy machine needs them, an idle one a tenth."""

POLL = 5
"""Seconds after which Dagster's daemon looks again whether a run's job lives."""


def detector(cell: int, ratio: float = 0.5) -> dict[str, Any]:
    """An entry of ``detectors:`` that embeds by itself unless another one has the same cells.

    Args:
        cell: side of a patch, in pixels.
        ratio: of the coreset.
    """
    return {
        "model": "vision_patchcore",
        "embedder": {"name": "sleeping", "cell": cell},
        "coreset": {"ratio": ratio},
    }


@dataclass
class Deployment:
    """A running deployment.

    Attributes:
        folder: of images and homes.
        store: the bucket's server.
        url: of this deployment's artifacts.
        postgres: SQLAlchemy's URL of Dagster's storage.
        cluster: the Ray nodes.
        environment: of every process that is started from now on.
    """

    folder: Path
    store: ObjectStore
    url: str
    postgres: str
    cluster: RayCluster
    environment: pytest.MonkeyPatch

    @property
    def home(self) -> Path:
        """Of the machine that asks; the head of the cluster is on it."""
        return self.folder / "head"

    def new_home(self, name: str, **storage: str) -> Workshop:
        """A machine's folder with the head's project file; caches, locks and index are its own."""
        (self.folder / name).mkdir()
        shutil.copy(self.home / "uad.yaml", self.folder / name)
        workshop = Workshop(self.folder / name)
        workshop.edit(lambda values: values["storage"].update(storage))
        return workshop

    def join(self, command: str | None = None) -> RayNode:
        """One more node, with a home of its own; the first one is the head's."""
        homes = len(list(self.folder.glob("node-*")))
        home = self.new_home(f"node-{homes + 1}").home if self.cluster.nodes else self.home
        return self.cluster.start(home, command)

    def keep(self, nodes: int) -> None:
        """Kill the nodes beyond so many."""
        for node in self.cluster.nodes[nodes:]:
            node.kill()
        del self.cluster.nodes[nodes:]

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the project file in every home."""
        for path in self.folder.glob("*/uad.yaml"):
            Workshop(path.parent).edit(change)

    def set_environment(self) -> None:
        """What ``cluster.env`` says, for every process that is started from now on."""
        for line in (self.home / "cluster.env").read_text().splitlines():
            name, _, value = line.partition("=")
            self.environment.setenv(name, value)

    def set_far_apart(self, poll: int = POLL) -> None:
        """Homes are not at the same path here, as on machines they are; and a dead node is noticed sooner.

        Args:
            poll: seconds after which Dagster looks again whether jobs live.
        """
        settings = self.home / ".uad/dagster/dagster.yaml"
        lines = settings.read_text().splitlines()
        kept = [
            line
            for line in lines
            if line.strip().split("#")[0].strip() not in ("- UAD_HOME", "- DAGSTER_HOME")
        ]
        assert len(kept) == len(lines) - 2
        settings.write_text(
            "\n".join(kept).replace("poll_interval_seconds: 30", f"poll_interval_seconds: {poll}")
        )

    def uad(self, *arguments: str, home: Path | None = None) -> str:
        """What a command prints; AssertionError where it fails."""
        done = self._command(*arguments, home=home or self.home)
        assert done.returncode == 0, f"uad {arguments}: {done.stdout[-1500:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def plan(self, detectors: str) -> dict[str, Any]:
        """``uad plan --json`` of the detectors whose names are like that."""
        return json.loads(self.uad("plan", "--json", "--detector", detectors))

    def hand_over(self, *chosen: str) -> None:
        """``uad refresh --backfill`` with these options, once the daemon is there."""

        def taken() -> bool:
            done = self._command("refresh", "--backfill", *chosen, home=self.home)
            assert done.returncode == 0 or "there is none" in done.stderr, done.stderr
            return done.returncode == 0

        wait_for(taken, PATIENCE, "a daemon takes the backfill")

    def objects(self, url: str) -> list[str]:
        """All that lies below a folder of the bucket, from there."""
        import s3fs

        root = url.removeprefix("s3://")
        found = s3fs.S3FileSystem(skip_instance_cache=True).find(root)
        return [path.removeprefix(f"{root}/") for path in found]

    def _command(self, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "uad_orchestrator.cli", *arguments, "--home", str(home)],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )


@contextmanager
def deployed(
    folder: Path, categories: Sequence[str], detectors: Mapping[str, dict[str, Any]], sleep: float
) -> Iterator[Deployment]:
    """A bucket, a database and a head's home with ``uad.yaml``; Ray has no node as yet.

    Args:
        folder: empty.
        categories: of the dataset ``alpha``: 10 images each, of which 6 are to be learnt.
        detectors: by name.
        sleep: seconds that a node takes to embed an image; here none.
    """
    for number, category in enumerate(categories):
        write_category(folder / "images" / category, 1000 * number)
    site = install(folder / "site")
    values = project_file({"alpha": list(categories)})
    values["datasets"]["alpha"]["root"] = str(folder / "images")
    values["detectors"] = dict(detectors)
    path = os.pathsep.join([str(ROOT), str(site)])
    with (
        pytest.MonkeyPatch.context() as patch,
        running_store() as store,
        postgres_url() as postgres,
        ray_cluster(PYTHONPATH=path, **{SLEEP: str(sleep)}) as cluster,
    ):
        patch.setenv("PYTHONPATH", path)
        patch.setenv("UAD_POSTGRES_URL", postgres)
        patch.setenv("UAD_RAY_ADDRESS", cluster.jobs_url)
        patch.syspath_prepend(site)
        look_again()
        deployment = Deployment(folder, store, store.folder(), postgres, cluster, patch)
        values["storage"] = {"root": deployment.url, "local": ".uad"}
        deployment.home.mkdir()
        Workshop(deployment.home).write(values)
        yield deployment
    look_again()
