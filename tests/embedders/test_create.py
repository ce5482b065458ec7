"""Names, defaults, recipes, and where weights are looked for: all without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from uad_orchestrator.embedders.create import (
    create_embedder,
    embedder_recipe,
    known_embedders,
    resolve_settings,
    weight_file,
)
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.weights import WeightsError
from uad_orchestrator.extras import require_extra


def settings_of(name, **values):
    return EmbedderSettings(name=name, **values)


@pytest.mark.parametrize("name", known_embedders())
def test_every_known_embedder_resolves_and_has_a_json_recipe(name):
    resolved = resolve_settings(settings_of(name))
    assert resolve_settings(resolved) == resolved
    assert json.loads(json.dumps(embedder_recipe(resolved))) == embedder_recipe(settings_of(name))


def test_the_defaults_are_the_papers():
    dino = resolve_settings(settings_of("vit_small_patch14_dinov2.lvd142m"))
    assert (dino.image_size, dino.resize, dino.layers, dino.mean) == (
        448,
        "shorter_edge",
        ("-1",),
        (0.485, 0.456, 0.406),
    )
    core = resolve_settings(settings_of("wide_resnet50_2"))
    assert (core.image_size, core.resize, core.layers, core.dimension) == (
        224,
        "squash",
        ("layer2", "layer3"),
        1024,
    )
    assert resolve_settings(settings_of("vit_tiny_patch16_224")).mean == (0.5, 0.5, 0.5)
    assert resolve_settings(settings_of("vit_tiny_patch16_224")).image_size == 224


def test_where_weights_lie_is_not_in_the_recipe_but_a_random_seed_is():
    plain = embedder_recipe(settings_of("resnet18"))
    assert plain == embedder_recipe(settings_of("resnet18", weights="/a/b.pth", download=True))
    seeded = [embedder_recipe(settings_of("resnet18", weights=f"random:{seed}")) for seed in (0, 1)]
    assert plain != seeded[0] != seeded[1]


@pytest.mark.parametrize(
    "changed", [{"layers": ("layer2",)}, {"image_size": 256}, {"resize": "shorter_edge"}, {"dimension": 384},
                {"mean": (0.5, 0.5, 0.5)}, {"std": (0.5, 0.5, 0.5)}], ids=lambda c: next(iter(c)),
)  # fmt: skip
def test_every_setting_that_decides_numbers_is_in_the_recipe(changed):
    assert embedder_recipe(settings_of("resnet18", **changed)) != embedder_recipe(settings_of("resnet18"))


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("resnet81", {}, "did you mean 'resnet18'"),
        ("filterbank", {}, "did you mean 'filter_bank'"),
        ("filter_bank", {"weights": "a.pth"}, "filter_bank has no weights"),
        ("filter_bank", {"layers": ("a",)}, "filter_bank has no layers"),
        ("filter_bank", {"download": True}, "filter_bank has no download"),
        ("resnet18", {"pos_embed": "hub"}, "resnet18 has no pos_embed"),
        ("resnet18", {"layers": ()}, "one or more"),
        ("resnet18", {"layers": ("layer2", "layer2")}, "different layers"),
        ("resnet18", {"weights": "random:x"}, "needs a seed"),
        ("vit_tiny_patch16_224", {"dimension": 100}, "has no dimension"),
        ("vit_tiny_patch16_224", {"pos_embed": "paper"}, "valid are timm, hub"),
        ("vit_tiny_patch16_224", {"layers": ("layer2",)}, "block numbers"),
        ("vit_small_patch14_dinov2", {"image_size": 450, "resize": "squash"}, "such as 448"),
        ("timm/inception_next_tiny", {}, "embedder.mean, embedder.std"),
    ],
)
def test_settings_that_do_not_fit_are_refused_not_ignored(name, values, said):
    with pytest.raises(ValueError, match=said):
        resolve_settings(settings_of(name, **values))


def test_a_local_weight_file_is_relative_to_the_project_file(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"x")
    assert weight_file(settings_of("resnet18", weights="w.pth"), tmp_path) == tmp_path / "w.pth"
    with pytest.raises(WeightsError, match=r"no file .*missing\.pth.*weights: "):
        weight_file(settings_of("resnet18", weights="missing.pth"), tmp_path)


def test_no_weights_is_an_error_that_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    expected = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    with pytest.raises(WeightsError) as error:
        weight_file(settings_of("resnet18"), tmp_path)
    for part in (
        str(expected),
        "download.pytorch.org",
        "download: true",
        "hub:torchvision/resnet18",
        "weights:",
    ):
        assert part in str(error.value)
    expected.parent.mkdir(parents=True)
    expected.write_bytes(b"x")
    assert weight_file(settings_of("resnet18"), tmp_path) == expected
    with pytest.raises(WeightsError, match="has no weights"):
        weight_file(settings_of("mobilenetv2_100"), tmp_path)


def test_random_weights_only_by_name(tmp_path):
    assert weight_file(settings_of("resnet18", weights="random:0"), tmp_path) is None
    assert weight_file(settings_of("filter_bank"), tmp_path) is None


def test_a_hugging_face_file_is_taken_from_the_local_cache(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub", reason="needs the torch extra")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    dino = settings_of("vit_small_patch14_dinov2.lvd142m")
    with pytest.raises(WeightsError) as error:
        weight_file(dino, tmp_path)
    for part in ("hub:timm/vit_small_patch14_dinov2.lvd142m", str(tmp_path), "download: true", "hf download"):
        assert part in str(error.value)
    snapshot = tmp_path / "models--timm--vit_small_patch14_dinov2.lvd142m" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"x")
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    found = weight_file(dino, Path.cwd())
    assert found is not None and found.name == "model.safetensors"


def test_a_missing_extra_is_an_import_error_with_the_line_to_type():
    with pytest.raises(ImportError, match=r"pip install 'uad_orchestrator\[torch\]'"):
        require_extra("no_such_package_anywhere", extra="torch", what="embedder resnet18")


def test_creating_an_embedder_imports_no_torch(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"x")
    script = (
        "import sys\n"
        "from uad_orchestrator.embedders import create\n"
        "from uad_orchestrator.embedders.settings import EmbedderSettings as S\n"
        "for name in create.known_embedders():\n"
        "    create.embedder_recipe(S(name=name))\n"
        f"settings = S(name='resnet18', weights={str(tmp_path / 'w.pth')!r})\n"
        "try:\n    create.create_embedder(settings).recipe()\n"
        "except ImportError as error:\n    assert 'pip install' in str(error)\n"
        "print(sorted({'torch', 'timm', 'torchvision', 'cv2', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_filter_bank_is_created_without_weights():
    assert create_embedder(settings_of("filter_bank")).recipe()["embedder"] == "filter_bank"
