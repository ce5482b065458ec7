"""How steps are written in the project file, and what is refused."""

import pytest

from uad_orchestrator.preprocessing.settings import (
    STEP_METHODS,
    Clahe,
    Gamma,
    GrayWorld,
    MedianDenoise,
    PresetSettings,
    parse_step,
)


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ("white_balance", GrayWorld()),
        ({"white_balance": "gray_world"}, GrayWorld()),
        ({"denoise": "median"}, MedianDenoise()),
        ({"denoise": {"method": "median", "size": 5}}, MedianDenoise(size=5)),
        ({"illumination": {"method": "gamma", "gamma": 1.2}}, Gamma(gamma=1.2)),
        ({"illumination": None}, parse_step("illumination")),
    ],
)
def test_every_way_to_write_a_step(written, parsed):
    assert parse_step(written) == parsed


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"white_balanse": "gray_world"}, "did you mean 'white_balance'"),
        ({"illumination": "clache"}, "did you mean 'clahe'"),
        ({"illumination": {"method": "clahe", "clip_limt": 3}}, "did you mean 'clip_limit'"),
        ({"illumination": {"method": "clahe", "clip_limit": "much"}}, "clip_limit"),
        ({"illumination": {"method": "gamma", "gamma": -1}}, "greater than 0"),
        ({"illumination": {"method": "contrast_stretch", "low": 60, "high": 40}}, "must be below"),
        ({"illumination": 3}, "expected a method's name"),
        ({"white_balance": "gray_world", "denoise": "median"}, "a step is written as"),
        ({"roi": [0, 0, 10, 10]}, "expected a method's name"),
        ({"roi": {"method": "polygon", "points": [[0, 0], [1, 1]]}}, "three points or more, got 2"),
        ({"roi": {"method": "polygon", "points": [[0, 0], [1, -1], [0, 1]]}}, "no coordinate is below 0"),
        ({"roi": {"top": 0.5, "bottom": 0.2}}, "top must be above bottom"),
        ({"roi": {"right": 20}}, "write `unit: pixels`"),
        ({"roi": "mask"}, "path: Field required"),
        ({"resize": {"method": "scale", "pixels": 9}}, "belongs to method 'shorter_edge'"),
        ("augment", "stands with a detector"),
        (["denoise"], "a step is written as"),
    ],
)
def test_what_is_wrong_is_named_with_the_nearest_valid_word(written, said):
    with pytest.raises(ValueError, match=said):
        parse_step(written)


def test_a_parameter_of_another_method_is_refused_not_ignored():
    with pytest.raises(ValueError, match="belongs to method 'gamma'"):
        parse_step({"illumination": {"method": "clahe", "gamma": 1.2}})


def test_a_preset_is_a_list_and_its_errors_say_which_step():
    preset = PresetSettings.model_validate([{"white_balance": "max_rgb"}, {"illumination": "clahe"}])
    assert preset.steps[1] == Clahe()
    with pytest.raises(ValueError, match="step 2: unknown step 'sharpen'"):
        PresetSettings.model_validate(["denoise", "sharpen"])
    with pytest.raises(ValueError, match="a preset is a list of steps"):
        PresetSettings.model_validate({"white_balance": "gray_world"})


def test_a_preset_survives_its_own_dump():
    preset = PresetSettings.model_validate(
        [{"denoise": {"method": "bilateral", "sigma_color": 0.2}}, "color_space"]
    )
    dumped = preset.model_dump(mode="json")
    assert [PresetSettings.model_validate(preset), dumped["steps"][0]["sigma_color"]] == [preset, 0.2]


def test_every_method_is_the_one_its_model_says():
    for step, methods in STEP_METHODS.items():
        for method, model in methods.items():
            needed = {
                ("roi", "polygon"): {"points": [[0, 0], [1, 0], [1, 1]]},
                ("roi", "mask"): {"path": "roi.png"},
            }
            parsed = parse_step({step: {"method": method, **needed.get((step, method), {})}})
            assert (type(parsed), parsed.STEP, parsed.model_dump()["method"]) == (model, step, method)
