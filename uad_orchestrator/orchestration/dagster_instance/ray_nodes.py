"""What every node of the Ray cluster has that runs are launched on: asked by a tiny job on each.

Not public API of Dagster here: an instance's settings, and dagster-ray's launcher with its client.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from uad_orchestrator.orchestration.dagster_instance.lost_runs import names_ray

PROBE = r"""
dagster=$(command -v dagster) || { echo "PATH is $PATH"; exit 127; }
echo "$dagster"
"$(dirname "$(readlink -f "$dagster")")/python" -c 'import uad_orchestrator as uad; print(uad.__version__)' 2>&1
"""
"""In the shell that the entry point of a run is given to: where ``dagster`` is, and what its Python imports."""

NODE_LABEL = "ray.io/node-id"
OVER = ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass(frozen=True)
class NodeAnswer:
    """What a node said.

    Attributes:
        node: its address.
        status: of the job that asked: SUCCEEDED, FAILED, or PENDING where it has not answered.
        lines: what it printed.
    """

    node: str
    status: str
    lines: tuple[str, ...] = ()


def ray_launcher(home: Path) -> Any | None:
    """The launcher of an instance that launches its runs on Ray; None where there is none, or another.

    Args:
        home: the instance's folder; its databases are not opened.
    """
    from dagster._core.instance.ref import InstanceRef

    if not (home / "dagster.yaml").exists():
        return None
    settings = InstanceRef.from_dir(str(home))
    return settings.run_launcher if names_ray(settings) else None


def ask_nodes(launcher: Any, seconds: float) -> list[NodeAnswer]:
    """Ask each node that lives; the jobs are taken away again.

    Args:
        launcher: dagster-ray's.
        seconds: for which all together are waited for.

    Raises:
        Exception: Ray's head does not answer; whatever its clients raise.
    """
    from ray.util.state import list_nodes

    deadline = time.monotonic() + seconds
    nodes = list_nodes(
        launcher.address, filters=[("state", "=", "ALIVE")], limit=10_000, timeout=max(1, int(seconds / 2))
    )
    jobs = {_submit(launcher, node.node_id): node.node_ip for node in nodes}
    statuses = _wait(launcher.client, jobs, deadline)
    found = [
        NodeAnswer(
            node,
            statuses[job],
            tuple(launcher.client.get_job_logs(job).splitlines()) if statuses[job] in OVER else (),
        )
        for job, node in jobs.items()
    ]
    for job in jobs:
        with suppress(Exception):  # what is not over is stopped first; a check leaves nothing that matters
            if statuses[job] not in OVER:
                launcher.client.stop_job(job)
            launcher.client.delete_job(job)
    return sorted(found, key=lambda answer: answer.node)


def _submit(launcher: Any, node_id: str) -> str:
    """A job on this node, with the surroundings that a run would have there."""
    from dagster_ray.utils import resolve_env_vars_list

    environment = dict(launcher.runtime_env or {})
    variables = {**environment.get("env_vars", {}), **resolve_env_vars_list(launcher.env_vars)}
    return str(
        launcher.client.submit_job(
            submission_id=f"uad-check-{uuid4().hex[:12]}",
            entrypoint=PROBE,
            runtime_env={**environment, "env_vars": variables},
            entrypoint_label_selector={NODE_LABEL: node_id},
        )
    )


def _wait(client: Any, jobs: Mapping[str, str], deadline: float) -> dict[str, str]:
    """The status of each job when all are over, or the time is."""
    statuses: dict[str, str] = {}
    while True:
        for job in jobs:
            if statuses.get(job) not in OVER:
                statuses[job] = str(client.get_job_status(job).value)
        if all(status in OVER for status in statuses.values()) or time.monotonic() > deadline:
            return statuses
        time.sleep(0.5)
