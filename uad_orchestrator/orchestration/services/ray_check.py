"""Whether every node of the Ray cluster can start our runs: ``dagster`` on its PATH, and this package beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from uad_orchestrator import __version__
from uad_orchestrator.orchestration.dagster_instance.lost_runs import within
from uad_orchestrator.orchestration.dagster_instance.ray_nodes import (
    NodeAnswer,
    ask_nodes,
    ray_launcher,
)
from uad_orchestrator.orchestration.services.project_problem import ProjectProblem

SECONDS = 60.0
"""For which the nodes are waited for: a job takes Ray some seconds to start, on a busy machine half a minute."""


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

    >>> old = NodeAnswer("10.0.0.7", "SUCCEEDED", ("/opt/uad/bin/dagster", "0.1.0"))
    >>> [str(problem) for problem in node_problems([old], "0.2.0")]
    ['ray node 10.0.0.7: has uad_orchestrator 0.1.0, this machine 0.2.0: install the same everywhere']
    """
    if not answers:
        yield ProjectProblem("ray", "the cluster has no node that lives: start `ray start` on one")
    for answer in answers:
        where, said = f"ray node {answer.node}", " ".join(answer.lines[-3:])
        if answer.status not in ("SUCCEEDED", "FAILED"):
            what = "did not answer in time whether it can start runs: look at it with `ray status`"
            yield ProjectProblem(where, what, "warning")
        elif answer.status == "FAILED" and not _has_dagster(answer):
            advice = (
                "activate the environment that has it before `ray start`, or give PATH=... in env_vars of the "
                "run_launcher in dagster.yaml"
            )
            yield ProjectProblem(where, f"`dagster` is not on the PATH of its raylet ({said}): {advice}")
        elif answer.status == "FAILED":
            what = f"{answer.lines[0]} is there, but its Python cannot import uad_orchestrator ({said})"
            yield ProjectProblem(where, f"{what}: install it in that environment")
        elif answer.lines[-1] != version:
            what = f"has uad_orchestrator {answer.lines[-1]}, this machine {version}: install the same everywhere"
            yield ProjectProblem(where, what)


def _has_dagster(answer: NodeAnswer) -> bool:
    return bool(answer.lines) and answer.lines[0].startswith("/")
