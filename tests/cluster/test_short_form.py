"""The page on clusters, followed: three nodes, three cells, and one node dies; ``python -m tests.cluster`` tries more.

The other machines are raylets on this one, with homes of their own; the services that the page names are a bucket of
moto's and a PostgreSQL server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.cluster.deployment import Deployment, deployed
from tests.cluster.runs import Run, all_ended, run_on
from tests.cluster.same_content import contents, differences
from tests.documentation.code_blocks import Block
from tests.documentation.following import follow, steps
from tests.end_to_end.ui_process import Server, free_port
from uad_orchestrator.project import load_project

pytestmark = [pytest.mark.end_to_end, pytest.mark.cluster]

CATEGORIES = ("bolt", "disc", "ring")
NODES = 3
SLEEP = 1.5
"""Seconds for an image: a cell takes a quarter of a minute, in which its node can be killed."""
PATIENCE = 600.0
"""Seconds for a block; a busy machine needs them, an idle one a tenth."""
END_SECONDS = 120.0


@dataclass
class Story:
    """What came of the page.

    Attributes:
        said: by each command block, its code and what it printed, in order.
        lost: the run whose node was killed.
        runs: all of them, in the end.
    """

    deployment: Deployment
    said: dict[str, str] = field(default_factory=dict)
    lost: Run | None = None
    runs: list[Run] = field(default_factory=list)

    def answer(self, command: str) -> str:
        """What the last block with this command printed."""
        return next(text for code, text in reversed(self.said.items()) if command in code)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("cluster")
    with deployed(folder, CATEGORIES, {}, SLEEP) as deployment, ended(deployment.home):
        story = Story(deployment)
        server = Server(f"http://127.0.0.1:{free_port()}", deployment.home / "ui.log")
        for block in steps("cluster.md"):
            take(at_hand(block, deployment, server), story)
            if "--backfill" in block.code:
                story.lost, node = run_on(server, deployment.cluster)
                node.kill()
            if "ray job list" in block.code:
                story.runs = all_ended(server, len(CATEGORIES))
        yield story


def at_hand(block: Block, deployment: Deployment, server: Server) -> Block:
    """A block with what there is here in place of what the page names."""
    code = block.code
    for named, here in {
        "s3://benchmarks/line7": deployment.url,
        "/data/line7": str(deployment.folder / "images"),
        "filter_bank": "sleeping",
        "postgresql+psycopg2://uad@db:5432/uad": deployment.postgres,
        "http://head:8265": deployment.cluster.jobs_url,
        "head:6379": f"127.0.0.1:{deployment.cluster.port}",
        "--port=6379": f"--port={deployment.cluster.port}",
        "--dashboard-port=8265": f"--dashboard-port={deployment.cluster.dashboard_port}",
        "http://s3:9000": deployment.store.url,
        "--port 3000": f"--port {server.url.rpartition(':')[2]}",
    }.items():
        code = code.replace(named, here)
    return block._replace(code=code)


def take(block: Block, story: Story) -> None:
    """Do what a block says; the nodes of other machines are started on this one."""
    deployment = story.deployment
    if block.code.startswith("ray start"):
        while len(deployment.cluster.nodes) < (1 if "--head" in block.code else NODES):
            deployment.join(block.code)
        return
    story.said[block.code] = follow(block, deployment.home, {}, PATIENCE)
    if block.marker.endswith("cluster.env"):
        deployment.set_environment()
    if "init --cluster" in block.code:
        deployment.set_far_apart()


@contextmanager
def ended(home: Path) -> Iterator[None]:
    """What the page starts ends, whatever becomes of the test."""
    try:
        yield
    finally:
        for path in home.glob("*.pid"):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(int(path.read_text()))
                process.terminate()
                process.wait(END_SECONDS)


def test_a_cell_whose_node_died_is_computed_on_another(story: Story) -> None:
    (lost,) = (run for run in story.runs if run.run_id == story.lost.run_id)
    assert lost.status == "FAILURE"
    again = [run for run in story.runs if run.cell == lost.cell and run.status == "SUCCESS"]
    assert len(again) == 1
    others = [run.status for run in story.runs if run.cell != lost.cell]
    assert others == ["SUCCESS"] * (len(CATEGORIES) - 1), "the other cells were not asked for twice"


def test_the_figures_are_those_of_one_machine(story: Story) -> None:
    alone = story.deployment.new_home("alone", root=".uad")
    assert not alone.refresh().failed
    assert not differences(contents(alone.project), contents(load_project(story.deployment.home)))


def test_nothing_is_left_in_the_end(story: Story) -> None:
    told = story.answer("uad leaderboard")
    assert "0 stale" in told, told
    assert all(category in told for category in CATEGORIES) and "missing" not in told, told
