"""The process of a run on a cluster: Dagster's command, by our module, which is over at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import LaunchRunContext

from tests.orchestration.dagster_instance.contracts import contract
from tests.orchestration.dagster_instance.launchers.ray_instance import launched_run, ray_instance
from uad_orchestrator.garbage import YOUNG
from uad_orchestrator.orchestration.dagster_instance.launchers.run_process import HERE, started_here

ENDING = f"""
import atexit, gc, sys
import dagster._cli
from {HERE} import main

class Held:
    def __del__(self):
        print("taken apart")

def command():
    atexit.register(print, gc.get_threshold()[0])
    sys.exit(3)

held = Held()
left_open = [open(sys.argv[1] + suffix, "w") for suffix in ("first", "second")]
gc.freeze()
left_open.append(open(sys.argv[1] + "third", "wb"))
for file in left_open:
    file.write("waits" if "b" not in file.mode else b"waits")
dagster._cli.main = command
main()
"""


@dg.job
def nothing() -> None: ...


@contract("launchers/run_process.py", "starts a run by the entry point of its origin")
def test_a_run_by_a_python_starts_by_our_module_and_one_by_the_bare_word_as_it_says(tmp_path: Path) -> None:
    with ray_instance(tmp_path) as (instance, server):
        bare = launched_run(instance, nothing)
        repository = bare.job_code_origin.repository_origin._replace(
            entry_point=[sys.executable, "-m", "dagster"]
        )
        by_python = bare._replace(job_code_origin=bare.job_code_origin._replace(repository_origin=repository))
        for run in (bare, by_python):
            instance.run_launcher.launch_run(LaunchRunContext(run, None))
    words = [job["entrypoint"].split(" '")[0] for job in server.submitted]
    assert words == ["dagster api execute_run", f"{sys.executable} -m {HERE} api execute_run"]
    assert all(
        run.run_id in job["entrypoint"] for run, job in zip((bare, by_python), server.submitted, strict=True)
    )


def test_a_run_of_no_code_location_is_left_as_it_is() -> None:
    run = dg.DagsterRun("nothing", run_id="r")
    assert started_here(run) is run


@pytest.mark.parametrize("words", [["--version"], ["api", "no-such-command"]], ids=" ".join)
def test_it_says_and_returns_what_dagsters_command_does(words: list[str]) -> None:
    ours, dagsters = (
        subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, check=False)
        for module in (HERE, "dagster")
    )
    assert ours.returncode == dagsters.returncode
    assert ours.stdout.split() == dagsters.stdout.replace("dagster,", f"{HERE},").split()
    assert ours.stderr.splitlines()[-1:] == dagsters.stderr.splitlines()[-1:]


def test_it_ends_after_all_that_is_registered_and_takes_nothing_apart(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENDING, f"{tmp_path}/"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stdout == f"{YOUNG}\n"
    assert {path.read_text() for path in tmp_path.iterdir()} == {"waits"}, "files left open"
