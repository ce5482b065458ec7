"""Whether every node of the Ray cluster can start our runs, and has this package in the same version."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from uad_orchestrator import __version__
from uad_orchestrator.orchestration.dagster_instance.launchers.ray_head import within
from uad_orchestrator.orchestration.dagster_instance.launchers.ray_nodes import (
    DAGSTER,
    PYTHON,
    NodeAnswer,
    ask_nodes,
    ray_launcher,
)
from uad_orchestrator.orchestration.services.project_check.problem import ProjectProblem

SECONDS = 60.0
"""For which the nodes are waited for: a job takes Ray some seconds to start, on a busy machine half a minute."""


_WAYS = {DAGSTER: "`dagster`", PYTHON: f"`{sys.executable}`"}
_ADVICE = {
    DAGSTER: "Runs of a `dagster-daemon` of your own start by that word: activate the environment that has it before "
    "`ray start`, or give PATH=... in env_vars of the run_launcher in dagster.yaml",
    PYTHON: "Runs of `uad ui` start by that path, its own Python's: install uad_orchestrator under the same path",
}


def ray_problems(home: Path, seconds: float = SECONDS) -> Iterator[ProjectProblem]:
    """What keeps nodes from starting runs; nothing where runs are not launched on Ray.

    Args:
        home: Dagster's, with its settings.
        seconds: for which all nodes together are waited for.
    """
    try:
        launcher = ray_launcher(home)
        if launcher is None:
            return
        answers = within(seconds + 10.0, lambda: ask_nodes(launcher, seconds))
    except ImportError as error:
        yield ProjectProblem(
            "ray", f"runs are launched on Ray, but {error}: pip install 'uad_orchestrator[ray]'"
        )
    except Exception as error:  # whatever Ray's clients raise: this is the edge
        said = " ".join(str(error).split())[:300]
        yield ProjectProblem("ray", f"the head that dagster.yaml names does not answer: {said}")
    else:
        yield from node_problems(answers, __version__)


def node_problems(answers: Sequence[NodeAnswer], version: str) -> Iterator[ProjectProblem]:
    """What is wrong with each node.

    Args:
        answers: theirs.
        version: of this package, which each should have.

    >>> old = NodeAnswer("10.0.0.7", {"dagster": "0.1.0", "python": "0.2.0"})
    >>> [problem.problem for problem in node_problems([old], "0.2.0")]
    ['`dagster` there has uad_orchestrator 0.1.0, this machine 0.2.0: install the same everywhere']
    """
    if not answers:
        yield ProjectProblem("ray", "the cluster has no node that lives: start `ray start` on one")
    for answer in answers:
        where = f"ray node {answer.node}"
        if not answer.versions and not answer.faults:
            what = "did not answer in time whether it can start runs: look at it with `ray status`"
            yield ProjectProblem(where, what, "warning")
        for way, there in answer.versions.items():
            if there != version:
                what = f"{_WAYS[way]} there has uad_orchestrator {there}, this machine {version}"
                yield ProjectProblem(where, f"{what}: install the same everywhere")
        for way, fault in answer.faults.items():
            # A node that knows the other way starts the runs of those who take it.
            yield ProjectProblem(
                where, f"{_WAYS[way]}: {fault}. {_ADVICE[way]}", "warning" if answer.versions else "error"
            )
