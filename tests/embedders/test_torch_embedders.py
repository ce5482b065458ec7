"""CNN and ViT embedders run for real, with seeded random weights."""

import numpy as np
import pytest

from uad_orchestrator.embedders.create import create_embedder, resolve_settings
from uad_orchestrator.embedders.protocol import PatchEmbedder
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.torchvision.names import TORCHVISION_CNNS

torch = pytest.importorskip("torch", reason="needs the torch extra")

SMALL = {
    "resnet18": {"image_size": 64},
    "mobilenet_v2": {"image_size": 64},
    "mobilenetv2_100": {"image_size": 64},
    "vit_tiny_patch16_224": {"image_size": 64},
    "vit_small_patch14_dinov2.lvd142m": {"image_size": 56, "layers": ("0", "1")},
}


def embedder(name, **values):
    return create_embedder(
        EmbedderSettings(name=name, weights="random:0", **{**SMALL.get(name, {}), **values})
    )


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    sizes = [(64, 64), (80, 120), (64, 64), (120, 80), (40, 60)]
    found = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    return [*found, found[1].astype(np.uint16) * 257]


@pytest.mark.parametrize("name", SMALL)
def test_alone_equals_in_a_batch_of_mixed_sizes(name, images):
    model = embedder(name)
    assert isinstance(model, PatchEmbedder)
    batch = model.embed_batch(images)
    for image, found in zip(images, batch, strict=True):
        alone = model.embed(image)
        assert found[1:] == alone[1:]
        scale = np.abs(alone.patch_embeddings).max()
        assert np.abs(found.patch_embeddings - alone.patch_embeddings).max() <= 1e-4 * scale
        assert found.patch_embeddings.dtype == np.float32 and np.isfinite(found.patch_embeddings).all()
        assert found.patch_embeddings.shape[0] == np.prod(found.grid_shape)
        assert found.original_size == image.shape[:2]
    scale = np.abs(batch[1].patch_embeddings).max()
    assert np.abs(batch[1].patch_embeddings - batch[5].patch_embeddings).max() <= 1e-4 * scale, "16 bit"


def test_deterministic_for_a_seed_and_another_for_another(images):
    first, again = embedder("resnet18").embed(images[0]), embedder("resnet18").embed(images[0])
    other = create_embedder(EmbedderSettings(name="resnet18", weights="random:1", image_size=64)).embed(
        images[0]
    )
    assert np.array_equal(first.patch_embeddings, again.patch_embeddings)
    assert not np.array_equal(first.patch_embeddings, other.patch_embeddings)


def test_never_gradients(images):
    model = embedder("resnet18")
    model.embed(images[0])
    assert not any(p.requires_grad for p in model._network.extractor.parameters())


def test_a_grid_covers_the_whole_image_and_a_vit_remembers_the_part_it_saw():
    image = np.zeros((60, 100, 3), np.uint8)
    cnn = embedder("resnet18").embed(image)
    assert (cnn.grid_shape, cnn.region, cnn.input_size) == ((8, 8), (0, 0, 60, 100), (64, 64))
    vit = embedder("vit_small_patch14_dinov2.lvd142m").embed(image)
    assert (vit.grid_shape, vit.input_size) == ((4, 6), (56, 84))
    assert vit.region == pytest.approx((0, 0, 60, 100 * 84 / 93))
    assert vit.patch_embeddings.shape == (24, 2 * 384)


def test_dino_at_448_gives_the_grid_of_the_paper():
    settings = resolve_settings(EmbedderSettings(name="vit_small_patch14_dinov2.lvd142m", weights="random:0"))
    found = create_embedder(settings).embed(np.zeros((300, 300, 3), np.uint8))
    assert (found.grid_shape, found.patch_embeddings.shape) == ((32, 32), (1024, 384))


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_a_planted_spot_lights_up_at_its_own_place_on_a_non_square_image(name):
    model = embedder(name, image_size=128, **({"layers": ("0",)} if name.startswith("vit") else {}))
    image = np.full((150, 320, 3), 128, np.uint8)
    spotted = image.copy()
    spotted[20:40, 270:290] = 255
    before, after = model.embed_batch([image, spotted])
    change = np.square(after.patch_embeddings - before.patch_embeddings).sum(1).reshape(after.grid_shape)
    row, column = np.unravel_index(change.argmax(), change.shape)
    x = (column + 0.5) * (after.region.right - after.region.left) / after.grid_shape[1]
    y = (row + 0.5) * (after.region.bottom - after.region.top) / after.grid_shape[0]
    assert abs(x - 280) < 25 and abs(y - 30) < 15


def test_the_vit_resize_is_pillows_antialiased_bicubic_as_in_the_official_code():
    from PIL import Image

    image = np.random.default_rng(3).integers(100, 156, (90, 130, 3), dtype=np.uint8)
    model = embedder("vit_tiny_patch16_224", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    plan = model._plan(image)
    own = model._input(image, plan).permute(1, 2, 0).numpy() * 255
    height, width = plan.resized_size
    pillow = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC), float)
    assert np.abs(own - pillow[: plan.input_size[0], : plan.input_size[1]]).max() <= 1.51


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("resnet18", {"layers": ("layer5",)}, "did you mean 'layer"),
        ("resnet18", {"layers": ("fc",)}, "not a feature map"),
        ("mobilenetv2_100", {"layers": ("stride64",)}, "stride8"),
        ("vit_tiny_patch16_224", {"layers": ("12",)}, "blocks 0..11"),
        ("timm/resnet18_x", {"mean": (0.5,) * 3, "std": (0.5,) * 3}, "timm has no model"),
    ],
)
def test_layers_and_models_that_are_not_there(name, values, said):
    with pytest.raises(ValueError, match=said):
        embedder(name, **values).embed(np.zeros((64, 64, 3), np.uint8))


def test_every_setting_does_something(images):
    base = embedder("resnet18").embed(images[1]).patch_embeddings
    for values in ({"layers": ("layer2",)}, {"dimension": 256}, {"mean": (0.5,) * 3}, {"std": (0.5,) * 3},
                   {"image_size": 96}, {"resize": "shorter_edge"}):  # fmt: skip
        other = embedder("resnet18", **values).embed(images[1]).patch_embeddings
        assert other.shape != base.shape or not np.allclose(other, base), values
    vit = embedder("vit_tiny_patch16_224").embed(images[1]).patch_embeddings
    for values in ({"layers": ("3",)}, {"pos_embed": "hub"}, {"resize": "squash"}):
        other = embedder("vit_tiny_patch16_224", **values).embed(images[1]).patch_embeddings
        assert other.shape != vit.shape or not np.allclose(other, vit), values


def test_a_device_that_is_not_there_is_named():
    model = create_embedder(EmbedderSettings(name="resnet18", weights="random:0"), device="cuda:99")
    with pytest.raises(ValueError, match=r"runtime\.device: 'cuda:99'"):
        model.embed(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("image", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.float32)])
def test_another_shape_or_dtype_is_an_error(image):
    with pytest.raises(ValueError, match="expected RGB"):
        embedder("resnet18").embed(image)


def test_the_table_of_torchvision_models_is_torchvisions():
    from torchvision.models import get_model_weights

    for name, cnn in TORCHVISION_CNNS.items():
        assert get_model_weights(name)["IMAGENET1K_V1"].url.endswith("/" + cnn.weight_file), name


@pytest.mark.parametrize("name", TORCHVISION_CNNS)
def test_the_default_layers_have_stride_8_and_16(name):
    import torchvision

    layers = TORCHVISION_CNNS[name].layers
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = torchvision.models.get_model(name, weights=None, **_without_init(name)).eval()
        sizes = {}
        for layer in layers:
            model.get_submodule(layer).register_forward_hook(
                lambda _module, _inputs, output, layer=layer: sizes.__setitem__(layer, output.shape[-1])
            )
        with torch.inference_mode():
            model(torch.zeros(1, 3, 224, 224))
    assert [sizes[layer] for layer in layers] == [28, 14]


def _without_init(name):
    return {"init_weights": False} if name.startswith("vgg") else {}


def test_the_normalisation_read_from_a_timm_name_is_timms():
    import timm

    from uad_orchestrator.embedders.timm.names import patch_size, timm_normalisation

    known = 0
    for name in timm.list_models(pretrained=True):
        norm, config = timm_normalisation(name), timm.get_pretrained_cfg(name)
        if norm is not None:
            known += 1
            assert (norm.mean, norm.std) == (tuple(config.mean), tuple(config.std)), name
            assert patch_size(name) is None or f"patch{patch_size(name)}" in name
    assert known > 150
