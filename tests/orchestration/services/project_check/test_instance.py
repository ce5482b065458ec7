"""``uad check`` on the instance in use: whose settings it reads, and what of the project decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance, prepare_dagster_home
from uad_orchestrator.orchestration.services.project_check.check import check_project
from uad_orchestrator.orchestration.services.project_check.instance import home_problems, instance_problems
from uad_orchestrator.storage import LineageIndex


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return Workshop.build(tmp_path, {"alpha": ["disc"]}, train=1)


def problems(workshop: Workshop) -> dict[str, str]:
    project = workshop.project
    return {found.where: str(found) for found in (*instance_problems(project), *home_problems(project))}


def test_an_instance_of_its_own_fits_before_and_after_it_is_there(workshop: Workshop) -> None:
    assert problems(workshop) == {}
    prepare_dagster_home(workshop.project)
    assert problems(workshop) == {}


def test_a_lock_that_cannot_be_written_is_a_finding(workshop: Workshop) -> None:
    with open_instance(workshop.project):
        pass
    lock = Path(workshop.project.storage.local) / "locks" / "dagster.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()  # a mode would not hold root back
    found = {found.where: found.problem for found in check_project(workshop.project).problems}
    assert f"{lock}: Is a directory" in found["dagster"] and "let this user" in found["dagster"]


def test_the_settings_of_another_home_are_read_there(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    monkeypatch.setenv("DAGSTER_HOME", str(shared))
    assert list(problems(workshop)) == ["DAGSTER_HOME"], "there is no such folder"
    shared.mkdir()
    (shared / "dagster.yaml").write_text("run_monitoring: {enabled: true}\n")
    found = problems(workshop)
    assert set(found) == {"DAGSTER_HOME", "dagster.yaml: run_retries.enabled"}
    assert found["dagster.yaml: run_retries.enabled"].startswith(
        "warning: dagster.yaml: run_retries.enabled: is off"
    )
    (shared / "dagster.yaml").write_text("run_monitoring: [\n")
    assert "cannot be read" in problems(workshop)["dagster.yaml"]
    assert [path.name for path in shared.iterdir()] == ["dagster.yaml"], "nothing is written"


@pytest.mark.parametrize(
    ("root", "hosts", "found"),
    [
        ("memory://uad", ["head", "line7"], {"dagster.yaml: storage"}),
        ("memory://uad", ["head", "0123456789ab", "ba9876543210"], set()),
        (".uad", ["head", "line7"], set()),
    ],
    ids=["two machines", "a machine's containers", "a folder that was moved"],
)
def test_sqlite_is_for_one_machine_on_a_store(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, root: str, hosts: list[str], found: set[str]
) -> None:
    monkeypatch.setattr(LineageIndex, "hosts", lambda self: hosts)
    workshop.edit(lambda values: values.update(storage={"root": root, "local": ".uad"}))
    prepare_dagster_home(workshop.project)
    assert set(problems(workshop)) == found


def test_pools_of_the_project_ask_for_their_granularity(workshop: Workshop) -> None:
    settings = prepare_dagster_home(workshop.project) / "dagster.yaml"
    settings.write_text(settings.read_text().replace("granularity: op", "granularity: run"))
    assert problems(workshop) == {}
    workshop.edit(lambda values: values.update(dagster={"pools": {"memory_bank": "gpu"}}))
    assert set(problems(workshop)) == {"dagster.yaml: concurrency.pools.granularity"}
