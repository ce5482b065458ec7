"""Dagster's own UI in headless Chromium: what a user sees and clicks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.chromium import chromium, needs_chromium
from tests.end_to_end.ui_process import Server, running_ui, wait_for
from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, NODES, STAGES

if TYPE_CHECKING:
    from playwright.sync_api import Page

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the test extra)")
pytestmark = [pytest.mark.end_to_end, needs_chromium]

CATEGORY, DETECTOR = "alpha/disc", "patchcore"
SLOW = 120_000
"""Milliseconds to wait for what a busy machine may take long to show."""
MENUS = 6
"""Times that a menu is opened until a choice is made in it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``uad ui`` of a project of which nothing was ever materialised, not even an input."""
    workshop = Workshop.build(tmp_path_factory.mktemp("browsed"), {"alpha": ["disc", "ring"]})
    with running_ui(workshop.home) as server:
        yield server


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page large enough for the graph to show names in full."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 2600, "height": 1700})
        page.set_default_timeout(SLOW)
        # Dagster greets a browser it does not know with a dialog; this one was here before.
        page.add_init_script("localStorage.setItem('communityNux', JSON.stringify('1'))")
        yield page


def test_the_graph_shows_every_node(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/asset-groups")
    for group in {node.group for node in NODES.values()}:
        page.get_by_text(group, exact=True).first.wait_for()
    page.keyboard.press("Alt+e")  # expand all groups
    names = page.locator("[class*=AssetNode_assetName]")
    sync_api.expect(names).to_have_count(len(NODES))
    assert sorted(names.all_inner_texts()) == sorted(NODES)


def test_every_asset_is_described_and_owned(server: Server) -> None:
    found = server.ask(
        "{assetNodes {assetKey {path} groupName kinds description owners {... on TeamAssetOwner {team}}}}"
    )["assetNodes"]
    assert {node["assetKey"]["path"][-1] for node in found} == set(NODES)
    for shown in found:
        node = NODES[shown["assetKey"]["path"][-1]]
        assert (shown["groupName"], set(shown["kinds"])) == (node.group, set(node.kinds))
        assert shown["description"] == node.description
        assert shown["owners"], f"{node.asset} has no owner"


def test_a_click_materialises_a_cell_whose_inputs_never_were(server: Server, page: Page) -> None:
    assert not materialised(server, "normal_images", CATEGORY)
    page.goto(f"{server.url}/locations/uad_orchestrator/jobs/cell")
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_role("button", name="Confirm").click()  # "upstream assets ... have not been materialized yet"
    choose_partition(page, CATEGORY)
    choose_partition(page, DETECTOR)
    page.get_by_role("button", name="Launch 1 run").click()
    assert wait_for(lambda: ended_runs(server), SLOW / 1000, "the run ends") == ["SUCCESS"]
    cell = f"{CATEGORY}|{DETECTOR}"
    assert all(materialised(server, asset, cell) for asset in CELL_ASSETS)
    assert materialised(server, "normal_images", CATEGORY), "the run reports the inputs it read"
    assert not materialised(server, "memory_bank", f"alpha/ring|{DETECTOR}")

    page.goto(f"{server.url}/assets/metrics_report?view=partitions&partition={quote(cell, safe='')}")
    for name in ("image_auroc", "pixel_auroc", "aupro_0.3", "threshold", "false_positive_rate"):
        row = page.locator("tr", has=page.get_by_text(name, exact=True)).first
        row.wait_for()
        assert 0 <= float(row.locator("td").nth(1).inner_text()) <= 1
    page.get_by_text("[Show Markdown]").first.click()
    sheet = page.get_by_alt_text("best and worst cases")
    sheet.wait_for(state="visible")
    assert sheet.evaluate("picture => picture.complete && picture.naturalWidth") > 0
    box = sheet.bounding_box()
    assert box and box["width"] > 100 and box["height"] > 100


def test_a_click_on_the_report_of_a_fresh_cell_leads_to_the_job(server: Server, page: Page) -> None:
    """It computes nothing upstream without being asked; its failure links to the job that does."""
    page.goto(f"{server.url}/assets/metrics_report")
    page.get_by_role("button", name="Materialize").first.click()
    choose_partition(page, "alpha/ring")
    choose_partition(page, DETECTOR)
    page.get_by_role("button", name="Launch 1 run").click()
    wait_for(lambda: "FAILURE" in ended_runs(server), SLOW / 1000, "the run fails")
    found = server.ask("{runsOrError(limit: 1) {... on Runs {results {runId}}}}")["runsOrError"]["results"]
    page.goto(f"{server.url}/runs/{found[0]['runId']}")
    page.get_by_text("is not there in version").first.wait_for()
    page.get_by_role("link", name="cell", exact=True).first.click()
    page.wait_for_url("**/locations/uad_orchestrator/jobs/cell**")
    page.get_by_role("button", name="Materialize all").wait_for()


def test_the_command_line_agrees_with_the_click(server: Server) -> None:
    workshop = Workshop(Path(server.log).parent)
    stale = {(node.asset, node.category, node.detector) for node in workshop.plan().stale}
    assert not stale & {(asset, CATEGORY, DETECTOR) for asset in STAGES}


LAUNCH = """mutation ($run: ExecutionParams!) {launchRun(executionParams: $run) {
    __typename ... on LaunchRunSuccess {run {runId}} ... on RunConfigValidationInvalid {errors {message}}}}"""
ENDED = """query ($id: ID!) {runOrError(runId: $id) {... on Run {status eventConnection {events {
    ... on ErrorEvent {error {message cause {message}}}}}}}}"""
RELOADS = """mutation {reloadWorkspace {__typename}
    reloadRepositoryLocation(repositoryLocationName: "../../other") {__typename}}"""


def test_nothing_that_is_posted_leads_out_of_the_project(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Neither run config, nor partition keys, nor what else the web server takes."""
    home = server.log.parent
    other = Workshop.build(tmp_path_factory.mktemp("other"), {"alpha": ["disc"]}).home
    before = contents(other)

    def launch(key: str, config: dict[str, Any] | None = None, job: str = "cell") -> dict[str, Any]:
        selector = {
            "repositoryLocationName": "uad_orchestrator",
            "repositoryName": "__repository__",
            "pipelineName": job,
        }
        tags = [{"key": "dagster/partition", "value": key}, {"key": "dagster/max_retries", "value": "0"}]
        run = {"selector": selector, "runConfigData": config or {}, "mode": "default"}
        return server.ask(LAUNCH, run=run | {"executionMetadata": {"tags": tags}})["launchRun"]

    for entry in ({"home": str(other)}, {"key_prefix": ["x"]}, {"anything": 1}):
        answer = launch(f"{CATEGORY}|{DETECTOR}", {"resources": {"project_inputs": {"config": entry}}})
        assert answer["__typename"] == "RunConfigValidationInvalid", answer
        assert "unexpected config entry" in answer["errors"][0]["message"]

    stored = {"resources": {"io_manager": {"config": {"base_dir": str(other / "stored")}}}}
    keys = (f"../../{other.name}|{DETECTOR}", f"{CATEGORY}|../%2e%2e")
    launched = {key: launch(key, stored)["run"]["runId"] for key in keys}
    launched[str(other)] = launch(str(other), job="inputs")["run"]["runId"]
    for key, run_id in launched.items():
        found = wait_for(lambda run_id=run_id: ended(server, run_id), SLOW / 1000, "the run ends")
        assert found["status"] == "FAILURE", key
        assert f"this project has no partition {key!r}" in str(found["eventConnection"]), key
    server.ask(RELOADS)
    for path in ("logs/..%2f..%2f..%2fuad/yaml", f"logs/..%2f..%2f..%2f{other.name}%2fuad/yaml"):
        with pytest.raises(HTTPError):
            urlopen(f"{server.url}/{path}", timeout=60)
    assert contents(other) == before
    assert not [path for path in (home / ".uad").rglob("*") if path.name in (other.name, "%2e%2e")]


def contents(folder: Path) -> dict[Path, bytes]:
    """All files below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ended(server: Server, run_id: str) -> dict[str, Any] | None:
    """A run that ended, else None."""
    found = server.ask(ENDED, id=run_id)["runOrError"]
    return found if found["status"] in ("SUCCESS", "FAILURE", "CANCELED") else None


def choose_partition(page: Page, key: str) -> None:
    """Tick a partition in the first selector that has none yet.

    Dagster draws the dialog anew as answers arrive, which closes a menu that was just opened: then it is opened again.
    """
    unset = page.get_by_text("Select a partition or create one")
    unset.first.wait_for()
    left = unset.count() - 1
    for _ in range(MENUS):
        unset.first.click()
        try:
            page.get_by_role("menuitem", name=key).first.click(timeout=SLOW / MENUS)
            sync_api.expect(unset).to_have_count(left, timeout=SLOW / MENUS)
        except (sync_api.TimeoutError, AssertionError):
            continue
        page.keyboard.press("Escape")
        return
    pytest.fail(f"no partition {key!r} could be ticked in {MENUS} menus")


def ended_runs(server: Server) -> list[str]:
    """How the runs ended that did."""
    found = server.ask("{runsOrError {... on Runs {results {status}}}}")["runsOrError"]["results"]
    return [run["status"] for run in found if run["status"] in ("SUCCESS", "FAILURE", "CANCELED")]


def materialised(server: Server, asset: str, partition: str) -> bool:
    """Whether Dagster knows a materialisation of a partition."""
    found = server.ask(
        "query ($asset: [String!]!, $partition: [String!]) {assetOrError(assetKey: {path: $asset}) {"
        "... on Asset {assetMaterializations(partitions: $partition, limit: 1) {timestamp}}}}",
        asset=[asset],
        partition=[partition],
    )
    return bool(found["assetOrError"].get("assetMaterializations"))
