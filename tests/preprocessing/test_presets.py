"""Names, recipes and precedence of presets."""

import json

import pytest

from uad_orchestrator.preprocessing.presets import SHIPPED_PRESETS, resolve_preset
from uad_orchestrator.preprocessing.settings import Clahe, PresetSettings


def test_the_recipe_is_json_and_complete():
    recipe = resolve_preset("mine", {"mine": [{"illumination": {"method": "clahe", "tiles": 4}}]}).recipe()
    assert json.loads(json.dumps(recipe)) == {
        "steps": [{"step": "illumination", "version": 1, "method": "clahe", "clip_limit": 2.0, "tiles": 4}]
    }


def test_defaults_written_out_give_the_same_recipe():
    short = resolve_preset("a", {"a": ["denoise"]})
    long = resolve_preset("b", {"b": [{"denoise": {"method": "gaussian", "sigma": 1.0}}]})
    assert short.recipe() == long.recipe()


def test_a_steps_version_is_part_of_the_recipe(monkeypatch):
    preset = resolve_preset("a", {"a": [{"illumination": "clahe"}]})
    before = preset.recipe()
    monkeypatch.setattr(Clahe, "VERSION", 2)
    assert preset.recipe() != before


def test_order_matters():
    forth = resolve_preset("a", {"a": ["denoise", "white_balance"]}).recipe()
    back = resolve_preset("a", {"a": ["white_balance", "denoise"]}).recipe()
    assert forth != back


def test_the_projects_preset_takes_precedence_over_a_shipped_one():
    assert resolve_preset("plain", {"plain": ["denoise"]}).recipe()["steps"]
    assert resolve_preset("plain", {"mine": PresetSettings()}).recipe() == {"steps": []}


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'industrial_fast'"):
        resolve_preset("industrial_fats")
    assert set(SHIPPED_PRESETS) == {"plain", "industrial_camera_robust", "industrial_fast"}
