"""What changed in an input, in words that ``uad plan`` and ``uad why`` share."""

from __future__ import annotations

from typing import Any

import pytest

from uad_orchestrator.orchestration.planning.change_messages import checkpoint_words, file_words, input_words


def files(**digests: str) -> list[dict[str, str]]:
    return [{"path": name, "sha256": digest} for name, digest in digests.items()]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (files(a="1"), files(a="1"), []),
        (files(), files(a="1"), ["1 new mask"]),
        (files(), files(a="1", b="2"), ["2 new masks"]),
        (files(a="1"), files(), ["1 mask removed"]),
        (files(a="1", b="1", c="1"), files(b="1"), ["2 masks removed"]),
        (files(a="1"), files(a="2"), ["1 mask changed"]),
        (
            files(a="1", b="1", c="1", d="1"),
            files(a="2", b="2", d="1", e="1"),
            ["1 new mask", "1 mask removed", "2 masks changed"],
        ),
    ],
)
def test_files_are_counted_by_what_became_of_them(before: list, after: list, words: list[str]) -> None:
    assert file_words(before, after, "mask") == words


@pytest.mark.parametrize(
    ("asset", "word"),
    [("dataset_category", "image"), ("normal_images", "normal image"), ("test_images", "test image")],
)
def test_images_are_called_what_they_are(asset: str, word: str) -> None:
    before, after = {"images": files(a="1", b="1")}, {"images": files(a="2", c="1", d="1")}
    expected = [f"2 new {word}s", f"1 {word} removed", f"1 {word} changed"]
    assert input_words(asset, before, after, "plain") == expected


@pytest.mark.parametrize("asset", ["dataset_category", "normal_images", "test_images"])
def test_another_change_of_images_is_told_as_one(asset: str) -> None:
    """The layout, say: the files are the same."""
    same = {"images": files(a="1")}
    name = asset.replace("_", " ")
    assert input_words(asset, same | {"layout": "x"}, same, "plain") == [f"{name} changed"]
    assert input_words(asset, {}, {}, "plain") == [f"{name} changed"]
    assert input_words(asset, same, {}, "plain")[0].endswith("image removed")
    assert input_words(asset, {}, same, "plain")[0].startswith("1 new ")


def test_the_ground_truth_is_masks_labels_and_what_values_mean() -> None:
    one, two = {"masks": files(a="1"), "labels": []}, {"masks": files(a="2"), "labels": []}
    assert input_words("ground_truth", one, two, "plain") == ["1 mask changed"]
    relabelled = {"masks": files(a="1"), "labels": [{"path": "x", "label": 1}]}
    assert input_words("ground_truth", one, relabelled, "plain") == ["test labels changed"]
    in_channels = two | {"defects": [{"name": "hole", "pixel_value": 255}]}
    assert input_words("ground_truth", one, in_channels, "plain") == ["defects_config.json changed"]
    assert input_words("ground_truth", in_channels, in_channels | {"masks": files(a="3")}, "plain") == [
        "1 mask changed"
    ]
    assert input_words("ground_truth", {}, {"masks": files(a="1")}, "plain") == ["1 new mask"]
    assert input_words("ground_truth", {"masks": files(a="1")}, {}, "plain") == ["1 mask removed"]


def test_a_checkpoint_is_told_by_the_first_digits_and_its_calibration_by_number() -> None:
    old = {"embedder_weights": None, "checkpoint": "0123456789abcdef", "calibration": files(a="1", b="1")}
    new = {"embedder_weights": None, "checkpoint": "fedcba9876543210", "calibration": files(a="2", c="1")}
    changed = "checkpoint changed (sha256 01234567.. -> sha256 fedcba98..)"
    images = ["1 new calibration image", "1 calibration image removed", "1 calibration image changed"]
    assert checkpoint_words(old, new) == [changed, *images]
    assert input_words("checkpoint", old, new, "plain") == [changed, *images]
    assert checkpoint_words(old, old) == []


def test_weights_that_come_or_go_are_told_from_none() -> None:
    nothing: dict[str, Any] = {"embedder_weights": None}
    weights = {"embedder_weights": "0123456789abcdef"}
    assert checkpoint_words(nothing, weights) == ["checkpoint changed (none -> sha256 01234567..)"]
    assert checkpoint_words(weights, nothing) == ["checkpoint changed (sha256 01234567.. -> none)"]
    graph = nothing | {"checkpoint": "a" * 64, "checkpoint.bin": "b" * 64}
    assert checkpoint_words(nothing, graph) == [
        "checkpoint changed (none -> sha256 aaaaaaaa..)",
        "checkpoint changed (none -> sha256 bbbbbbbb..)",
    ]
    assert checkpoint_words(nothing, nothing | {"calibration": files(a="1")}) == ["1 new calibration image"]
    assert checkpoint_words(nothing | {"calibration": files(a="1")}, nothing) == [
        "1 calibration image removed"
    ]


def test_settings_are_told_by_their_last_key() -> None:
    old = {"settings": {"coreset": {"ratio": 0.1, "method": "random"}, "k": 1}}
    new = {"settings": {"coreset": {"ratio": 0.2, "method": "none"}, "k": 1}}
    assert input_words("fit_settings", old, new, "plain") == [
        "fit settings changed: ratio 0.1 -> 0.2, method random -> none"
    ]
    assert input_words("evaluation_protocol", {"settings": {"seg_f1": True}}, {"settings": {}}, "plain") == [
        "evaluation protocol changed: seg_f1 true -> absent"
    ]


def test_a_preset_is_told_by_its_name() -> None:
    old, new = ({"steps": [{"step": "illumination", "gamma": gamma}]} for gamma in (1.0, 1.2))
    assert input_words("preprocessing_preset", old, new, "robust") == [
        "preset robust changed: gamma 1.0 -> 1.2"
    ]


@pytest.mark.parametrize(
    ("asset", "said"),
    [
        ("preprocessing_preset", "preset robust changed"),
        ("normal_images", "normal images changed"),
        ("checkpoint", "checkpoint changed"),
        ("map_settings", "map settings changed"),
    ],
)
def test_of_a_content_that_was_not_kept_it_is_said_that_it_changed(asset: str, said: str) -> None:
    content = {"images": files(a="1")}
    assert input_words(asset, None, content, "robust") == [said]
    assert input_words(asset, content, None, "robust") == [said]
