"""What is wrong with a project file is said all at once: place, line, nearest word, what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from uad_orchestrator.project.catalogue import installed_catalogue
from uad_orchestrator.project.errors import ProjectError, SettingProblem, dotted
from uad_orchestrator.project.parsing.reading import project_from_text
from uad_orchestrator.project.project import Project

HOME = Path("somewhere")
CATALOGUE = installed_catalogue()

EVERY_KEY = """\
storage:
  root: .uad
  local: .uad
  keep: 3
runtime:
  device: auto
  devices: [0, 1]
  cells_per_device: 1
  batch_size: 8
  workers: 1
datasets:
  line7:
    layout: folder
    root: nowhere
    categories:
      - housing
    exclude:
      - housing/train/good/001.png
    incoming: arriving
presets:
  soft:
    - denoise
detectors:
  patchcore:
    model: vision_patchcore
    preset: soft
    embedder:
      name: filter_bank
      download: false
    coreset:
      method: batched_greedy
      ratio: 0.1
      projection_dim: 128
      starting_points: 10
    references:
      seed: 0
      k: 8
    seed: 0
    contamination: 0.05
    calibration:
      max_images: 200
      seed: 0
    n_neighbors: 1
    distance: l2
    aggregation: max
    topk: 0.01
    reweight: false
    reweight_neighbors: 9
    maps:
      gaussian_sigma: 4
      sigma_space: input
evaluation:
  protocol: mvtec_ad
  aupro_limits:
    - 0.3
  spro_limits:
    - 0.05
  seg_f1: true
  aupimo: false
automation:
  recalibrate: 0 3 * * *
  watch_checkpoints: 30
  intake:
    quantile: 0.99
    detectors: any
  threshold_shift: 0.2
dagster:
  key_prefix: uad
  name_prefix: uad
  location_name: uad
  group: uad
  pools:
    memory_bank: gpu
"""


def problems_of(text: str) -> tuple[SettingProblem, ...]:
    with pytest.raises(ProjectError) as raised:
        project_from_text(text, HOME, CATALOGUE)
    return raised.value.problems


def read(text: str) -> Project:
    return project_from_text(text, HOME, CATALOGUE)


NAMES_THERE = ("line7:", "soft:", "patchcore:")
KEY_LINES = [
    i for i, line in enumerate(EVERY_KEY.splitlines()) if ":" in line and line.strip() not in NAMES_THERE
]
"""The lines whose key is a word of the schema, not a name the user chose."""


def key_of(line: str) -> str:
    return line.strip().partition(":")[0]


@st.composite
def misspelt(draw: st.DrawFn, word: str) -> str:
    """One typing error: a letter lost, doubled, swapped with the next one, or replaced."""
    i = draw(st.integers(0, len(word) - 1))
    letter = draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz_"))
    return draw(
        st.sampled_from(
            [
                word[:i] + word[i + 1 :],
                word[:i] + word[i] + word[i:],
                word[:i] + word[i : i + 2][::-1] + word[i + 2 :],
                word[:i] + letter + word[i + 1 :],
            ]
        )
    )


def one_typing_error_apart(a: str, b: str) -> bool:
    """Whether one letter lost, added or replaced makes one word the other: "oreset" may be meant for "preset", too."""
    short, long = sorted((a, b), key=len)
    start = next(
        (i for i, pair in enumerate(zip(short, long, strict=False)) if pair[0] != pair[1]), len(short)
    )
    if len(short) == len(long):
        return short[start + 1 :] == long[start + 1 :]
    return len(long) == len(short) + 1 and short[start:] == long[start + 1 :]


@given(st.data())
def test_any_misspelt_key_is_named_with_its_line_and_the_right_word(data):
    lines = EVERY_KEY.splitlines()
    i = data.draw(st.sampled_from(KEY_LINES))
    key = key_of(lines[i])
    wrong = data.draw(misspelt(key))
    same_level = [key_of(line) for line in lines]
    assume(wrong and wrong not in same_level and isinstance(yaml.safe_load(wrong), str))
    assume(not any(one_typing_error_apart(wrong, other) for other in same_level if other != key))
    lines[i] = lines[i].replace(f"{key}:", f"{wrong}:", 1)

    found = [p for p in problems_of("\n".join(lines)) if p.line == i + 1 and "unknown key" in p.what]

    assert [p.place[-1] for p in found] == [wrong]
    assert key in found[0].advice, "the word that was meant stands in the advice"
    if len(key) > 5:
        assert f"did you mean '{key}'" in found[0].advice


@given(st.lists(st.sampled_from(KEY_LINES), min_size=2, max_size=4, unique=True))
def test_all_misspelt_keys_are_listed_at_once(chosen):
    lines = EVERY_KEY.splitlines()
    for i in chosen:
        lines[i] = lines[i].replace(":", "_x:", 1)
    found = {p.line for p in problems_of("\n".join(lines)) if "unknown key" in p.what}
    assert found >= {i + 1 for i in chosen if not set(chosen) & set(above(i))}


def above(i: int) -> list[int]:
    """The lines whose keys hold line ``i``'s, and the ``model:`` that says what is valid there."""
    lines = EVERY_KEY.splitlines()
    indents = [len(line) - len(line.lstrip()) for line in lines]
    parents = [j for j in range(i) if indents[j] < min(indents[j + 1 : i + 1])]
    beside = [j for j, line in enumerate(lines) if "model:" in line and j < i and indents[j] < indents[i]]
    return parents + beside


def test_every_key_of_the_sample_is_right():
    assert read(EVERY_KEY).detectors["patchcore"].fit.references.k == 8


@given(st.text(max_size=200) | st.text(alphabet="ab:,[]{}&*!-#|>'\"?% \n\t0", max_size=60))
def test_no_text_whatever_breaks_the_reader(text):
    problems_of(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(["storage", "runtime", "datasets", "presets", "detectors", "evaluation", "dagster"]),
    st.sampled_from(["", "x", "root", "categories", "embedder", "maps", "coreset"]),
)
def test_no_value_whatever_breaks_the_reader(value, section, key):
    entry = {key: value} if key else value
    if section == "detectors":
        entry = {"p": {"model": "vision_patchcore", **({key: value} if key else {})}}
    elif section == "datasets":
        entry = {"d": {"layout": "demo", **({key: value} if key else {})}}
    values = yaml.safe_load(EVERY_KEY)
    values[section] = entry
    try:
        read(yaml.safe_dump(values, allow_unicode=True))
    except ProjectError as error:
        assert error.problems and all(p.what for p in error.problems)


CASES = {
    "storge: {}": ("storge", "unknown key", "did you mean 'storage'"),
    "runtime: {device: gpu}": ("runtime.device", "'gpu'", ""),
    "runtime: {devices: []}": ("runtime.devices", "is empty", "leave the key out"),
    "runtime: {devices: [1, 0, '1']}": ("runtime.devices", "'1'", "numbers of GPUs"),
    "runtime: {devices: [0, cuda]}": ("runtime.devices", "stands there twice", "share"),
    "runtime: {devices: [auto]}": ("runtime.devices", "'auto'", "cuda:<number>"),
    "runtime: {devices: [true]}": ("runtime.devices", "True", "numbers of GPUs"),
    "runtime: {devices: 0}": ("runtime.devices", "a list", ""),
    "runtime: {device: cuda, devices: [0]}": ("runtime.devices", "beside device: cuda", "one of the two"),
    "runtime: {cells_per_device: 0}": ("runtime.cells_per_device", "greater than 0", ""),
    "runtime: {categories_per_run: 3}": ("runtime", "needs `run_per: embedder` beside it", ""),
    "runtime: {batch_size: 0}": ("runtime.batch_size", "greater than 0", ""),
    "runtime: {workers: true}": ("runtime.workers", "true or false", ""),
    "runtime: 3": ("runtime", "is 3 where keys are expected", ""),
    "storage: {root: ''}": ("storage.root", "at least 1 character", ""),
    "evaluation: {aupro_limits: [0.3, 0]}": ("evaluation.aupro_limits", "above 0", ""),
    "evaluation: {aupro_limits: [0.3, 0.3]}": ("evaluation.aupro_limits", "twice", ""),
    "evaluation: {aupro_limits: 0.3}": ("evaluation.aupro_limits", "a list", ""),
    "evaluation: {spro_limits: []}": ("evaluation.spro_limits", "above 0", ""),
    "evaluation: {protocol: mvtec_ad3}": ("evaluation.protocol", "no protocol is called", "mvtec_ad"),
    "evaluation: {protocol: ''}": ("evaluation.protocol", "no protocol is called", "mvtec_ad"),
    "evaluation: {protocol: {demo: mvtec_loc}}": ("evaluation.protocol.demo", "no protocol", "mvtec_loco"),
    "evaluation: {protocol: {demos: mvtec_ad2}}": (
        "evaluation.protocol.demos",
        "there is no dataset",
        "demo",
    ),
    "evaluation: {protocol: mvtec_loco}": ("evaluation.protocol", "needs masks in channels", "name another"),
    "dagster: {key_prefix: a/b}": ("dagster.key_prefix", "letters, digits", ""),
    "dagster: {owners: [me]}": ("dagster.owners", "e-mail", ""),
    "dagster: {name_prefix: line-7}": ("dagster.name_prefix", "letters, digits", ""),
    "dagster: {key_prefix: größe}": ("dagster.key_prefix", "letters, digits", ""),
    "dagster: {key_prefix: [a, _b]}": ("dagster.key_prefix", "a letter first", ""),
    "dagster: {group: a b}": ("dagster.group", "letters, digits", ""),
    "dagster: {pools: {memory_bnk: gpu}}": ("dagster.pools.memory_bnk", "unknown key", "'memory_bank'"),
    "dagster: {pools: {memory_bank: a b}}": ("dagster.pools.memory_bank", "has no spaces", ""),
    "presets: {p: [{white_balanse: gray_world}]}": ("presets.p[0]", "white_balanse", "white_balance"),
    "presets: {p: gray_world}": ("presets.p", "a list of steps", "e.g."),
    "presets: {plain: []}": ("presets.plain", "kept", ""),
}


@pytest.mark.parametrize("text", CASES)
def test_a_wrong_section_is_said(text):
    place, what, advice = CASES[text]
    rest = "\ndatasets: {demo: {}}\ndetectors: {p: {model: vision_patchcore}}"
    (problem,) = problems_of(text + rest)
    assert (dotted(problem.place), problem.line) == (place, 1)
    assert what in problem.what and advice in str(problem)


DETECTORS = {
    "{}": ("model", "missing", "vision_patchcore"),
    "{model: vision_patchcor}": ("model", "no detector is called", "did you mean 'vision_patchcore'"),
    "{model: [1]}": ("model", "no detector is called", ""),
    "{model: vision_patchcore, ratio: 0.1}": ("ratio", "unknown key", "`coreset.ratio`"),
    "{model: vision_patchcore, object_mask: true}": ("object_mask", "unknown key", ""),
    "{model: vision_patchcore, preset: camra}": ("preset", "no preset is called", "plain"),
    "{model: vision_patchcore, coreset: {method: greedy}}": ("coreset.method", "'greedy'", "batched_greedy"),
    "{model: vision_patchcore, coreset: {ratio: 2}}": ("coreset.ratio", "is 2", ""),
    "{model: vision_patchcore, coreset: {ratio: true}}": ("coreset.ratio", "true or false", ""),
    "{model: vision_patchcore, coreset: {ratio: .nan}}": ("coreset.ratio", "is nan", ""),
    "{model: vision_patchcore, references: {}}": ("references.k", "missing", "add `k:`"),
    "{model: vision_patchcore, maps: 3}": ("maps", "is 3", ""),
    "{model: vision_patchcore, embedder: {image_size: big}}": ("embedder.image_size", "'big'", ""),
    "{model: vision_patchcore, embedder: {name: filter_bnk}}": ("embedder.name", "filter_bnk", "filter_bank"),
    "{model: vision_patchcore, embedder: {nam: filter_bank}}": ("embedder.nam", "unknown key", "'name'"),
    "{model: vision_openclip_promptscore, embedder: resnet18}": (
        "embedder.name",
        "no text tower",
        "open_clip/",
    ),
    "{model: vision_openclip_promptscore, embedder: {layers: ['0', '1']}}": (
        "embedder.layers",
        "one block",
        "",
    ),
    "{model: vision_openclip_promptscore, prompts: {normal: [a]}}": ("prompts.normal", "needs one {}", ""),
    "{model: vision_openclip_promptscore, class_names: {bottle: ''}}": ("class_names.bottle", "''", ""),
    "{model: vision_openclip_prompt_patch, windows: [4]}": ("windows[0]", "is 4", "image"),
    "{model: vision_patchcore, checkpoint: a.pt}": ("checkpoint", "loads no checkpoint", "take the key out"),
    "{model: vision_padim_anomalib}": ("checkpoint", "where does the model come from", "`train: {}`"),
    "{model: vision_anomalib_checkpoint}": ("checkpoint", "where does the model come from", ""),
    "{model: vision_anomalib_checkpoint, checkpoint: a.pt, train: {}}": ("train", "unknown key", ""),
    "{model: vision_padim_anomalib, checkpoint: a.pt, train: {}}": ("train", "a checkpoint is named", ""),
    "{model: vision_padim_anomalib, checkpoint: a.pt, embedder: resnet18}": ("embedder", "of its own", ""),
    "{model: vision_padim_anomalib, train: {}, calibration: {folder: fresh}}": (
        "calibration.folder",
        "for checkpoints",
        "validation split",
    ),
    "{model: vision_padim_anomalib, checkpoint: '{category}.pt', calibration: {folder: fresh}}": (
        "calibration.folder",
        "there is no folder",
        "relative to the project file",
    ),
    "{model: vision_patchcore, calibration: {folder: fresh}}": ("calibration.folder", "unknown key", ""),
    "{model: vision_padim_anomalib, train: {epochs: 3}}": ("train.epochs", "unknown key", "max_epochs"),
    "{model: vision_padim_anomalib, train: {withheld: 1}}": ("train.withheld", "is 1", ""),
    "{model: vision_padmi_anomalib, train: {}}": ("model", "no detector is called", "vision_padim_anomalib"),
    "hello": ("", "keys are expected", ""),
}


@pytest.mark.parametrize("entry", DETECTORS)
def test_a_wrong_detector_is_said(entry):
    key, what, advice = DETECTORS[entry]
    problems = problems_of(f"datasets: {{demo: {{}}}}\ndetectors:\n  p: {entry}")
    problem = next(p for p in problems if dotted(p.place) == f"detectors.p.{key}".rstrip("."))
    assert problem.line == 3
    assert what in problem.what and advice in str(problem)


NAMES = ["''", "a/b", "'a|b'", "'a,b'", "'a[0]'", "a...b", "..", ".hidden", "'_'", "a\\b", '"a\\nb"', "'a*'"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_break_partitions_or_paths_are_refused(name):
    for text in (
        f"datasets: {{demo: {{}}}}\ndetectors:\n  {name}: {{model: vision_patchcore}}",
        f"detectors: {{p: {{model: vision_patchcore}}}}\ndatasets:\n  {name}: {{layout: demo}}",
        f"detectors: {{p: {{model: vision_patchcore}}}}\ndatasets:\n  demo: {{categories: [{name}]}}",
    ):
        (problem,) = problems_of(text)
        assert "name" in problem.what and problem.line == 3


def test_a_category_that_yaml_reads_as_a_number_is_to_be_quoted():
    """BTAD's categories are 01, 02, 03, which YAML takes for 1, 2, 3."""
    text = "datasets: {mvtec_ad: {root: x, categories: [01, no]}}\ndetectors: {p: {model: vision_patchcore}}"
    assert ["'01'" in p.advice or "'no'" in p.advice for p in problems_of(text)] == [True, True]


def test_names_that_differ_in_case_only_share_a_folder_on_some_systems():
    text = "datasets: {demo: {}}\ndetectors:\n  a: {model: vision_patchcore}\n  A: {model: vision_patchcore}"
    (problem,) = problems_of(text)
    assert problem.place == ("detectors", "A") and problem.line == 4


def test_a_key_that_stands_twice_is_an_error():
    (problem,) = problems_of("runtime:\n  workers: 1\n  workers: 2")
    assert dotted(problem.place) == "runtime.workers" and problem.line == 3 and "line 2" in problem.what


def test_incoming_is_for_the_users_own_layout_and_leaves_a_folder_for_what_is_held():
    rest = "\ndetectors: {p: {model: vision_patchcore}}"
    (published,) = problems_of("datasets: {mvtec_ad: {root: x, incoming: y}}" + rest)
    assert dotted(published.place) == "datasets.mvtec_ad.incoming" and "layout folder" in published.what
    own = "datasets: {line7: {layout: folder, root: x, incoming: y, categories: [held]}}"
    (held,) = problems_of(own + rest)
    assert dotted(held.place) == "datasets.line7.categories[0]" and "held" in held.what
    assert read(own.replace("held", "housing") + rest).datasets["line7"].incoming.name == "y"


def test_anchors_and_merge_keys_work():
    text = """
    datasets: {demo: {}}
    detectors:
      a: &a {model: vision_patchcore, n_neighbors: 3, contamination: 0.1}
      b: {<<: *a, n_neighbors: 5}
    """
    scoring = read(text).detectors["b"].scoring
    assert (scoring.n_neighbors, scoring.contamination) == (5, 0.1)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: !!python/object/apply:os.system ['true']",
        "---\na: 1\n---\nb: 2",
        "a: [1",
        "\tb: 1",
        "[" * 1000,
        "a: 2024-99-99",
        "x: \x01",
    ],
)
def test_yaml_that_cannot_be_a_project_is_said(text):
    (problem,) = problems_of(text)
    assert problem.what


def test_a_colon_without_a_blank_is_recognised():
    """In braces YAML reads it as one word, without a value."""
    detector = "detectors: {p: {model: vision_patchcore}}"
    _, key = problems_of(f"datasets: {{mine: {{layout: folder, root:images}}}}\n{detector}")
    assert (key.what, key.advice) == ("unknown key", "write a blank behind the colon: `root: images`")


def test_a_backslash_in_double_quotes_is_recognised():
    (problem,) = problems_of('datasets: {mine: {root: "C:\\Users\\me"}}')
    assert "single quotes, or /" in problem.advice


def test_aliases_of_aliases_do_not_fill_the_memory():
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for last, this in zip("abcdefgh", "bcdefghi", strict=True):
        text += f"{this}: &{this} [{', '.join([f'*{last}'] * 10)}]\n"
    (problem,) = problems_of(text)
    assert "entries" in problem.what


def test_messages_hold_no_credentials():
    url = "s3://key:s3cr3t@bucket/a?token=s3cr3t"  # pragma: allowlist secret
    for text in (f"runtime: {{device: '{url}'}}", f"storage: {{keep: '{url}', password: s3cr3t}}"):
        assert "s3cr3t" not in "\n".join(map(str, problems_of(text)))


def test_a_list_of_thousands_of_wrong_values_does_not_hide_the_rest() -> None:
    problems = [SettingProblem(("a", n), "is 1, should be text") for n in range(3000)]
    error = ProjectError(HOME, [*problems, SettingProblem(("b",), "unknown key")])
    assert len(error.problems) == 3001
    assert len(str(error).splitlines()) == 202 and str(error).endswith("... and 2801 more")
