"""The plan: what is stale, for which reason, on a grid that was recorded without computing anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.edits import Edit, below, gamma, image, mask, section, setting
from tests.orchestration.recorded_grid import Ledger, ledger_of
from tests.orchestration.workshop import EMBEDDER, Workshop, write_category
from uad_orchestrator.detectors import registry
from uad_orchestrator.metrics.thresholds import CALIBRATION_VERSION
from uad_orchestrator.orchestration.planning import rerecording
from uad_orchestrator.orchestration.planning.reasons import Reasons, read_content
from uad_orchestrator.orchestration.planning.rerecording import apply_rerecords, find_rerecords
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, STAGES, Cell
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.provenance import Provenance

DISC, RING = Cell("alpha/disc", "one"), Cell("alpha/ring", "one")
OTHER, FOURTH = Cell("alpha/disc", "two"), Cell("alpha/ring", "two")
CELLS = (DISC, OTHER, RING, FOURTH)


def build(home: Path) -> Workshop:
    """Two categories x two detectors."""
    workshop = Workshop.build(home, {"alpha": ["disc", "ring"]}, train=1)
    one = {"model": "vision_patchcore", "embedder": EMBEDDER, "preset": "bright", "coreset": {"ratio": 0.1}}
    workshop.edit(lambda values: values.update(detectors={"one": one, "two": {**one, "preset": "plain"}}))
    return workshop


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A grid of which nothing is recorded."""
    with ledger_of(build(tmp_path / "home")) as made:
        yield made


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with ledger_of(build(tmp_path_factory.mktemp("recorded") / "home")) as made:
        made.record_all()
        yield made


@pytest.fixture
def fresh(recorded: Ledger, tmp_path: Path) -> Ledger:
    """A copy of a grid that is recorded as it is, for tests that record nothing themselves."""
    shutil.copytree(recorded.workshop.home, tmp_path / "home")
    return Ledger(Workshop(tmp_path / "home"), recorded.instance)


@pytest.fixture
def own(ledger: Ledger) -> Ledger:
    """The same with an instance of its own."""
    ledger.record_all()
    return ledger


def stale(ledger: Ledger, **narrowed: Any) -> dict[tuple[str, Cell | None], tuple[str, ...]]:
    return {
        (
            node.asset,
            Cell(node.category, node.detector) if node.category and node.detector else None,
        ): node.reasons
        for node in ledger.plan(**narrowed).stale
    }


def test_nothing_was_ever_recorded(ledger: Ledger) -> None:
    plan = ledger.plan()
    nodes = [(node.asset, node.category, node.detector) for node in plan.stale]
    assert nodes[-1] == ("leaderboard", None, None)
    assert set(nodes[:-1]) == {
        (asset, cell.category, cell.detector) for cell in CELLS for asset in CELL_ASSETS
    }
    assert [asset for asset, *place in nodes if place == ["alpha/disc", "one"]] == list(CELL_ASSETS)
    assert {node.reasons for node in plan.stale} == {("never materialised",)}
    assert plan.fresh == 0 and plan.new == () and plan.rerecorded == ()
    assert plan.by_cell() == dict.fromkeys(CELLS, CELL_ASSETS)
    found = {(one.asset, one.partition) for one in plan.inputs}
    of_category = {"dataset_category", "normal_images", "test_images", "ground_truth", "evaluation_protocol"}
    of_detector = {"preprocessing_preset", "fit_settings", "scoring_settings", "map_settings"}
    assert found == {(a, p) for a in of_category for p in ("alpha/disc", "alpha/ring")} | {
        (a, p) for a in of_detector for p in ("one", "two")
    }
    assert len(plan.inputs) == len(found), "an input that cells share is named once"
    assert 0 < plan.seconds < 600


def test_everything_is_fresh_when_it_is_recorded_as_it_is(fresh: Ledger) -> None:
    plan = fresh.plan()
    assert (plan.stale, plan.inputs, plan.rerecorded, plan.new) == ((), (), (), ())
    assert plan.fresh == len(CELLS) * len(CELL_ASSETS) + 1
    assert plan.by_cell() == {}


CHANGES: list[tuple[Edit, set[str], set[Cell], str]] = [
    (image("train/good/000.png"), {"normal_images"}, {DISC, OTHER}, "1 normal image changed"),
    (image("test/good/009.png"), {"test_images", "ground_truth"}, {DISC, OTHER}, "1 new test image"),
    (mask, {"ground_truth"}, {DISC, OTHER}, "1 mask changed"),
    (gamma, {"preprocessing_preset"}, {DISC, RING}, "preset bright changed: gamma 1.0 -> 1.5"),
    (
        setting(coreset={"ratio": 0.2}),
        {"fit_settings"},
        {DISC, RING},
        "fit settings changed: ratio 0.1 -> 0.2",
    ),
    (
        setting(maps={"gaussian_sigma": 9}),
        {"map_settings"},
        {DISC, RING},
        "map settings changed: gaussian_sigma 4.0 -> 9.0",
    ),
    (
        section("evaluation", aupro_limits=[0.2]),
        {"evaluation_protocol"},
        set(CELLS),
        "evaluation protocol changed: aupro_limits [0.3, 0.05] -> [0.2]",
    ),
]


@pytest.mark.parametrize(("change", "inputs", "cells", "reason"), CHANGES, ids=[c[3] for c in CHANGES])
def test_a_change_makes_stale_what_depends_on_it_and_says_why(
    fresh: Ledger, change: Edit, inputs: set[str], cells: set[Cell], reason: str
) -> None:
    change(fresh.workshop)
    plan = fresh.plan()
    stages = below(inputs)
    expected = {(stage, cell) for stage in stages for cell in cells}
    found = stale(fresh)
    assert set(found) == expected | {("leaderboard", None)}
    assert plan.fresh == len(CELLS) * len(CELL_ASSETS) - len(expected)
    first = next(stage for stage in STAGES if stage in stages)
    for cell in cells:
        assert reason in found[first, cell]
        for stage in stages - {first}:
            reasons = found[stage, cell]
            assert not {"its recipe changed", "never materialised"} & set(reasons)
    assert found["leaderboard", None] == (f"{len(cells)} cells changed",)
    assert {one.asset for one in plan.inputs} == inputs | (
        {"dataset_category"} if inputs & {"normal_images", "ground_truth", "test_images"} else set()
    )
    assert plan.by_cell() == {
        cell: tuple(s for s in STAGES if s in stages) for cell in CELLS if cell in cells
    }
    change_again = fresh.plan()
    assert change_again.stale == plan.stale, "looking changes nothing"


def test_a_stage_below_says_which_stage_above_it_changed(fresh: Ledger) -> None:
    gamma(fresh.workshop)
    found = stale(fresh)
    assert found["memory_bank", DISC] == ("preset bright changed: gamma 1.0 -> 1.5",)
    assert found["score_table", DISC] == ("memory_bank changed",)
    assert found["anomaly_maps", DISC] == ("score_table changed",)
    assert found["metrics_report", DISC] == ("score_table changed", "anomaly_maps changed")


def test_another_version_of_the_code_is_a_reason(fresh: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = registry.DETECTORS["vision_patchcore"]
    monkeypatch.setitem(spec.versions, "scoring", spec.versions["scoring"] + 1)  # type: ignore[arg-type]
    found = stale(fresh, detectors=("one",))
    raised = spec.versions["scoring"] + CALIBRATION_VERSION
    assert found["score_table", RING] == (f"code version of score_table {raised - 1} -> {raised}",)
    assert found["anomaly_maps", RING] == ("score_table changed",)
    assert ("memory_bank", RING) not in found


def test_what_was_stored_and_is_gone(fresh: Ledger) -> None:
    folder = fresh.workshop.home / ".uad/artifacts"
    shutil.rmtree(folder / "anomaly_maps/alpha/disc/one")
    found = stale(fresh)
    assert found == {("anomaly_maps", DISC): ("artifact missing from the store",)}
    assert fresh.plan(asset="metrics_report").stale == ()

    gamma(fresh.workshop)
    assert stale(fresh)["anomaly_maps", DISC] == (
        "its last recorded artifact is gone, so what changed cannot be said",
    )
    for path in folder.rglob("preprocessing_preset/**/content.json"):
        path.unlink()
    assert stale(fresh)["memory_bank", DISC] == ("preset bright changed",)
    damaged = next((folder / "memory_bank/alpha/ring/one").rglob("provenance.json"))
    damaged.write_text("{")
    assert stale(fresh)["memory_bank", RING] == (
        "its last recorded artifact is gone, so what changed cannot be said",
    )


def test_what_cannot_be_computed_has_the_reason_and_the_others_are_fresh(fresh: Ledger) -> None:
    for path in (fresh.workshop.home / "data/alpha/disc/train/good").iterdir():
        path.unlink()
    plan = fresh.plan()
    found = {(node.asset, node.category) for node in plan.stale if node.category}
    assert found == {(stage, "alpha/disc") for stage in STAGES}
    for node in plan.stale[:-1]:
        assert (
            node.reasons[0].startswith("cannot be computed: ") and "train/good: no images" in node.reasons[0]
        )
    assert plan.inputs == (), "what cannot be read is not recorded"
    assert plan.rerecorded == ()


def test_a_plan_is_narrowed_by_category_detector_and_asset(fresh: Ledger) -> None:
    gamma(fresh.workshop)
    image("test/good/009.png")(fresh.workshop)
    assert {cell for _, cell in stale(fresh)} == {None, DISC, OTHER, RING}
    narrowed = fresh.plan(categories=("ring",))
    assert set(narrowed.by_cell()) == {RING}
    assert narrowed.fresh == 2 * len(CELL_ASSETS) - 4
    assert {one.partition for one in narrowed.inputs} == {"one"}
    one_asset = fresh.plan(asset="score_table")
    assert [(n.asset, n.category, n.detector) for n in one_asset.stale] == [
        ("score_table", "alpha/disc", "one"),
        ("score_table", "alpha/disc", "two"),
        ("score_table", "alpha/ring", "one"),
    ]
    assert one_asset.fresh == 1, "the board is not asked for"
    assert set(stale(fresh, asset="leaderboard")) == {("leaderboard", None)}
    assert fresh.plan(asset="checkpoint").stale == ()
    assert fresh.plan(asset="checkpoint").fresh == 4


def test_the_board_alone_is_stale_when_a_report_came_or_went(own: Ledger) -> None:
    shutil.rmtree(own.workshop.home / ".uad/artifacts/metrics_report/alpha/ring/two")
    own.record_board()
    assert set(stale(own)) == {("metrics_report", FOURTH)}
    own.record_stages(FOURTH, ["metrics_report"])
    assert stale(own) == {("leaderboard", None): ("other cells changed",)}


def test_new_detectors_and_categories_are_announced_where_others_are_known(fresh: Ledger) -> None:
    def add(values: dict[str, Any]) -> None:
        values["detectors"]["three"] = values["detectors"]["one"]
        values["datasets"]["beta"] = {"layout": "mvtec_ad", "root": "data/beta", "categories": ["cube"]}

    fresh.workshop.edit(add)
    write_category(fresh.workshop.home / "data/beta/cube", 5000, train=1)
    plan = fresh.plan()
    assert plan.new == ("beta/cube", "three")
    assert plan.fresh == len(CELLS) * len(CELL_ASSETS)
    assert len(plan.by_cell()) == 5


def test_the_json_is_what_scripts_read(fresh: Ledger) -> None:
    setting(coreset={"ratio": 0.2})(fresh.workshop)
    plan = fresh.plan(categories=("disc",))
    told = json.loads(json.dumps(plan.to_json()))
    assert list(told) == ["stale", "inputs", "restamped", "fresh", "unreachable", "new", "seconds"]
    assert told["stale"][0] == {
        "asset": "memory_bank",
        "category": "alpha/disc",
        "detector": "one",
        "reasons": ["fit settings changed: ratio 0.1 -> 0.2"],
    }
    assert told["stale"][-1] == {
        "asset": "leaderboard", "category": None, "detector": None, "reasons": ["1 cells changed"],
    }  # fmt: skip
    version = fresh.state.version("fit_settings", DISC)
    assert told["inputs"] == [{"asset": "fit_settings", "partition": "one", "version": version}]
    assert (told["fresh"], told["restamped"], told["new"]) == (plan.fresh, [], [])
    assert told["seconds"] == round(plan.seconds, 3)


def test_a_reason_is_worked_out_once_for_all_cells_that_share_it(
    fresh: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = fresh.state.reads("memory_bank", DISC)["preprocessing_preset"]
    bank = {cell: fresh.state.version("memory_bank", cell) for cell in (DISC, RING)}
    gamma(fresh.workshop)
    asked: list[str] = []

    def counted(store: Any, asset: str, cell: Cell, version: str) -> Any:
        asked.append(version)
        return read_content(store, asset, cell, version)

    monkeypatch.setattr("uad_orchestrator.orchestration.planning.reasons.read_content", counted)
    reasons = Reasons(fresh.state, fresh.store)
    told = {reasons.between("memory_bank", cell, version) for cell, version in bank.items()}
    assert told == {("preset bright changed: gamma 1.0 -> 1.5",)}
    assert asked == [recorded]


def test_what_a_recipe_reads_now_and_did_not_before(fresh: Ledger) -> None:
    """An artifact of an earlier program, whose graph had one input less."""
    state, store = fresh.state, fresh.store
    reads = state.reads("memory_bank", DISC)
    del reads["checkpoint"]
    key = ArtifactKey("memory_bank", "alpha", "disc", "one", "earlier")
    stage_version = state.stage_version("memory_bank", DISC)
    with store.write(key, Provenance(**vars(key), stage_version=stage_version, inputs=reads)):
        pass
    reasons = Reasons(state, store)
    assert reasons.between("memory_bank", DISC, "earlier") == ("now reads checkpoint",)
    same = ArtifactKey("memory_bank", "alpha", "disc", "one", "same")
    everything = state.reads("memory_bank", DISC)
    with store.write(same, Provenance(**vars(same), stage_version=stage_version, inputs=everything)):
        pass
    assert reasons.between("memory_bank", DISC, "same") == ("its recipe changed",)
    checkpoint = state.version("checkpoint", DISC)
    assert reasons.between("checkpoint", DISC, "unknown") == ("checkpoint changed",)
    assert reasons.between("checkpoint", DISC, checkpoint) == (), "nothing differs"


@pytest.mark.parametrize(
    ("asset", "address"),
    [
        ("normal_images", ("alpha", "disc", None)),
        ("fit_settings", (None, None, "one")),
        ("checkpoint", ("alpha", "disc", "one")),
    ],
)
def test_the_content_of_an_earlier_version_is_read_where_it_was_kept(
    fresh: Ledger, asset: str, address: tuple[str | None, str | None, str | None]
) -> None:
    found = fresh.state.input(asset, DISC)
    kept = read_content(fresh.store, asset, DISC, found.version)
    assert kept == json.loads(json.dumps(found.content))
    assert read_content(fresh.store, asset, DISC, "0123") is None
    path = fresh.store.open_dir(ArtifactKey(asset, *address, found.version)) / "content.json"
    path.write_text("{ damaged")
    assert read_content(fresh.store, asset, DISC, found.version) is None
    assert not path.parent.exists(), "it was set aside: the next refresh puts it back"
    assert read_content(fresh.store, asset, DISC, found.version) is None


def places(found: list[rerecording.Rerecord]) -> list[tuple[str, str, str | None, str | None]]:
    return [(again.asset, again.partition, again.category, again.detector) for again in found]


def test_nothing_is_recorded_again_where_dagster_has_it_right(own: Ledger) -> None:
    assert find_rerecords(own.state, own.recorded, CELLS) == []
    own.record_again("fit_settings", DISC)
    assert find_rerecords(own.state, own.recorded, CELLS) == [], "later, but in the version that was read"


def test_a_stage_recorded_with_other_inputs_is_recorded_again_with_the_right_ones(own: Ledger) -> None:
    own.record_stages(RING, ["score_table"], reads={"memory_bank": "an earlier bank"})
    own.record_again("scoring_settings", RING)  # later than the table, so that its event is looked at
    found = find_rerecords(own.state, own.recorded, CELLS)
    assert places(found) == [], "the bank's own record is older than the table's"
    own.record_stages(RING, ["memory_bank"])
    found = find_rerecords(own.state, own.recorded, CELLS)
    assert places(found) == [("score_table", RING.key, "alpha/ring", "one")]
    (again,) = found
    state = own.state
    assert again.version == state.version("score_table", RING)
    assert again.reads == state.reads("score_table", RING)
    assert again.to_json() == {
        "asset": "score_table", "category": "alpha/ring", "detector": "one", "version": again.version,
    }  # fmt: skip
    plan = own.plan()
    assert (plan.stale, plan.rerecorded) == ((), (again,))
    assert plan.to_json()["restamped"] == [again.to_json()]
    assert own.plan(asset="memory_bank").rerecorded == ()
    assert own.plan(categories=("disc",)).rerecorded == ()

    assert apply_rerecords(state, own.recorded, found) == found
    assert find_rerecords(own.state, own.recorded, CELLS) == []
    assert own.plan().stale == ()


def test_an_input_below_a_changed_manifest_is_recorded_again_once_for_all_detectors(own: Ledger) -> None:
    mask(own.workshop)
    own.record_inputs(DISC, ["dataset_category", "ground_truth"])
    found = find_rerecords(own.state, own.recorded, CELLS)
    assert places(found) == [
        ("normal_images", "alpha/disc", "alpha/disc", None),
        ("test_images", "alpha/disc", "alpha/disc", None),
    ]
    assert apply_rerecords(own.state, own.recorded, found) == found
    assert find_rerecords(own.state, own.recorded, CELLS) == []


def test_what_reads_an_input_that_dagster_has_in_another_version_waits(own: Ledger) -> None:
    """Only once all inputs are recorded rightly can the reader be."""
    mask(own.workshop)
    own.record_inputs(DISC, ["dataset_category", "ground_truth"])
    found = find_rerecords(own.state, own.recorded, CELLS)
    image("train/good/000.png")(own.workshop)
    own.record_inputs(DISC, ["dataset_category"])
    assert apply_rerecords(own.state, own.recorded, found) == [], "the manifest moved on meanwhile"


def test_what_is_stale_or_cannot_be_read_is_not_recorded_again(own: Ledger) -> None:
    mask(own.workshop)
    own.record_inputs(DISC, ["dataset_category", "ground_truth"])
    (own.workshop.home / "data/alpha/disc").rename(own.workshop.home / "gone")
    assert find_rerecords(own.state, own.recorded, CELLS) == []
    assert find_rerecords(own.state, own.recorded, []) == []


def test_the_record_is_read_once_per_asset(own: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = own.recorded
    versions, order = recorded.versions("memory_bank"), recorded.order("memory_bank")
    assert set(versions) == {cell.key for cell in CELLS} == set(order)
    assert versions[DISC.key] == own.state.version("memory_bank", DISC)
    own.record_stages(DISC, ["memory_bank"])
    assert recorded.versions("memory_bank") is versions and recorded.order("memory_bank") is order
    assert own.recorded.order("memory_bank")[DISC.key] > max(order.values())
