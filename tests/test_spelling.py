"""The nearest valid word, and what there is to choose from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uad_orchestrator.spelling import choose_from, did_you_mean

WORDS = st.text(alphabet="abcdefgh_0123456789", min_size=1, max_size=12)


@given(st.lists(WORDS, min_size=1, unique=True), st.data())
def test_a_valid_word_is_nearest_to_itself_in_any_case(valid: list[str], data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(valid))
    assert did_you_mean(word.upper(), valid) == f"did you mean '{word}'?"


def test_upper_and_lower_case_are_alike_and_the_valid_one_is_named() -> None:
    assert did_you_mean("vit-b-16", ["ViT-B-16", "RN50"]) == "did you mean 'ViT-B-16'?"


def test_what_is_like_nothing_gets_no_question() -> None:
    assert did_you_mean("xyz", ["ratio", "method"]) == ""
    assert did_you_mean("ratio", []) == ""


def test_any_value_can_stand_where_a_word_is_expected() -> None:
    assert did_you_mean(5, ["15", "method"]) == "did you mean '15'?"
    assert choose_from(None, ["none", "auto"]) == "did you mean 'none'? (valid: auto, none)"


def test_the_nearest_of_several_comes_first() -> None:
    layers = ["layer1", "layer2", "conv1"]
    assert did_you_mean("layer22", layers, n=3) == "did you mean 'layer2' or 'layer1'?"


def test_all_are_listed_in_order_with_or_without_a_near_one() -> None:
    assert choose_from("botle", ["screw", "bottle"]) == "did you mean 'bottle'? (valid: bottle, screw)"
    assert choose_from("xyz", ["screw", "bottle"]) == "valid: bottle, screw"
    assert choose_from("xyz", []) == "nothing is valid here"


def test_of_a_list_too_long_to_read_the_nearest_are_named() -> None:
    models = [f"resnet{n}" for n in range(1000)]
    advice = choose_from("resnet_18", models)
    assert advice.startswith("did you mean 'resnet18' or ") and advice.count("resnet") == 3
    advice = choose_from("xyz", models)
    assert advice.startswith("valid: resnet0, resnet1, ") and advice.endswith(", ... (1000 in all)")
    assert advice.count("resnet") == 50
