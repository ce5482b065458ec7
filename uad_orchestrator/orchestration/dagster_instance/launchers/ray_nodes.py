"""What every node of the Ray cluster has that runs are launched on: asked by a tiny job on each.

Not public API of Dagster here: an instance's settings and how it refuses them, dagster-ray's launcher and its client.
"""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._check import CheckError
from yaml import YAMLError

from uad_orchestrator.orchestration.dagster_instance.launchers.ray_head import ENDED, names_ray

MARK = "uad-node: "
DAGSTER, PYTHON = "dagster", "python"
"""The two ways in which a run starts: by the bare word where a daemon of one's own loads the code location from a
workspace file, by the path of its own Python where ``uad ui`` does."""

PROBE = f"""
version() {{{{
  if said=$("$2" -c 'import uad_orchestrator as uad; print(uad.__version__)' 2>&1)
  then echo "{MARK}$1 version=$said"
  else echo "{MARK}$1 fault=$(echo "$said" | tail -n 1)"
  fi
}}}}
if dagster=$(command -v dagster)
then version {DAGSTER} "$(dirname "$(readlink -f "$dagster")")/python"
else echo "{MARK}{DAGSTER} fault=not on the PATH, $PATH"
fi
version {PYTHON} {{python}}
"""
"""For the shell that a run's entry point is given to."""

NODE_LABEL = "ray.io/node-id"
FORGET_SECONDS = 2.0
"""After which Ray has noted that a job is over; one that is deleted before that is noted as failed."""


@dataclass(frozen=True)
class NodeAnswer:
    """What a node said.

    Attributes:
        node: its address.
        versions: of this package, by the ways to start a run that work there.
        faults: of the other ways, by each what is wrong with it. Both are empty where the node has not answered.
    """

    node: str
    versions: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)


def ray_launcher(home: Path) -> Any | None:
    """The launcher of an instance that launches its runs on Ray; None where there is none, or another.

    None, too, where Dagster refuses the settings: that is said by who reads them, and nothing is known of Ray.

    Args:
        home: the instance's folder; its databases are not opened.
    """
    from dagster._core.instance.ref import InstanceRef

    if not (home / "dagster.yaml").exists():
        return None
    try:
        settings = InstanceRef.from_dir(str(home))
        return settings.run_launcher if names_ray(settings) else None
    except (dg.DagsterError, CheckError, YAMLError, UnicodeDecodeError, RecursionError):
        return None


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
    found = [read_answer(node, launcher.client.get_job_logs(job)) for job, node in jobs.items()]
    time.sleep(FORGET_SECONDS)
    for job in jobs:
        with suppress(Exception):  # what is not over is stopped first; a check leaves nothing that matters
            if statuses[job] not in ENDED:
                launcher.client.stop_job(job)
            launcher.client.delete_job(job)
    return sorted(found, key=lambda answer: answer.node)


def read_answer(node: str, log: str) -> NodeAnswer:
    """What a node's probe said; Ray's own lines, and the text of the probe, stand before it.

    >>> read_answer("10.0.0.7", "Running entrypoint: echo\\nuad-node: python version=0.1.0").versions
    {'python': '0.1.0'}
    """
    said: dict[str, dict[str, str]] = {"version": {}, "fault": {}}
    for line in log.splitlines():
        if found := re.match(rf"{MARK}({DAGSTER}|{PYTHON}) (version|fault)=(.*)", line):
            said[found[2]][found[1]] = found[3]
    return NodeAnswer(node, said["version"], said["fault"])


def _submit(launcher: Any, node_id: str) -> str:
    """A job on this node, with the surroundings that a run would have there."""
    from dagster_ray.utils import resolve_env_vars_list

    environment = dict(launcher.runtime_env or {})
    variables = {**environment.get("env_vars", {}), **resolve_env_vars_list(launcher.env_vars)}
    return str(
        launcher.client.submit_job(
            submission_id=f"uad-check-{uuid4().hex[:12]}",
            entrypoint=PROBE.format(python=shlex.quote(sys.executable)),
            runtime_env={**environment, "env_vars": variables},
            entrypoint_label_selector={NODE_LABEL: node_id},
        )
    )


def _wait(client: Any, jobs: Mapping[str, str], deadline: float) -> dict[str, str]:
    """The status of each job when all are over, or the time is."""
    statuses: dict[str, str] = {}
    while True:
        for job in jobs:
            if statuses.get(job) not in ENDED:
                statuses[job] = str(client.get_job_status(job).value)
        if all(status in ENDED for status in statuses.values()) or time.monotonic() > deadline:
            return statuses
        time.sleep(0.5)
