"""CNN and ViT embedders run for real, with seeded random weights."""

import subprocess
import sys

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
    own = model._inputs([(image, plan)])[0].permute(1, 2, 0).numpy() * 255
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


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_grey_image_stays_one_channel_and_gives_the_same_numbers(name, dtype):
    rng = np.random.default_rng(1)
    grey = rng.integers(0, np.iinfo(dtype).max, (90, 130), dtype=dtype)
    shown = np.broadcast_to(grey[..., None], (90, 130, 3))
    model = embedder(name)
    assert tuple(model._pixels(shown).shape) == (1, 90, 130)
    assert tuple(model._pixels(np.ascontiguousarray(shown)).shape) == (3, 90, 130)
    first, second = model.embed_batch([shown, np.ascontiguousarray(shown)])
    assert np.array_equal(first.patch_embeddings, second.patch_embeddings)


def test_embeddings_are_rounded_as_numpy_rounds_them(images):
    model = embedder("resnet18")
    exact, rounded = model.embed_batch(images[:4]), model.embed_rounded(images[:4], "float16")
    for a, b in zip(exact, rounded, strict=True):
        assert b.patch_embeddings.dtype == np.float16
        assert np.array_equal(a.patch_embeddings.astype(np.float16), b.patch_embeddings)


@pytest.mark.parametrize("value", [65504.0, 1e6, np.nan, np.inf])
def test_what_float16_cannot_hold_stays_float32(value):
    class Network:
        def __call__(self, batch):
            grids = torch.zeros(len(batch), 2, 3, 4)
            grids[1, 0, 1, 2] = value
            return grids

    model = embedder("resnet18")
    model._network = Network()
    found = model.embed_rounded([np.zeros((64, 64, 3), np.uint8)] * 3, "float16")
    assert [f.patch_embeddings.dtype for f in found] == [np.float16, np.float32, np.float16]
    assert np.array_equal(found[1].patch_embeddings[1, 2], np.float32(value), equal_nan=True)


class OutOfMemory:
    """A network on a device that holds ``most`` images."""

    def __init__(self, most):
        self.most, self.batches = most, []

    def __call__(self, batch):
        if len(batch) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.batches.append(len(batch))
        return batch.mean(dim=(2, 3))[:, None, None].expand(-1, 2, 2, -1)


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    model = embedder("resnet18")
    model._network = OutOfMemory(most=3)
    images = list(np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8))
    assert model.batch_size == 8
    with pytest.warns(
        UserWarning, match="8 images at a time do not fit into the memory of cpu; it goes on with"
    ):
        found = model.embed_batch(images)
    assert model._network.batches == [2, 2, 2, 2]
    assert model.batch_size == 2
    model._network = OutOfMemory(most=8)
    for a, b in zip(found, model.embed_batch(images), strict=True):
        assert np.array_equal(a.patch_embeddings, b.patch_embeddings)


def test_an_image_that_does_not_fit_alone_is_embedded_on_the_cpu():
    model = embedder("resnet18")
    expected = model.embed(np.full((64, 64, 3), 7, np.uint8))
    model._network = OutOfMemory(most=0)
    with pytest.warns(UserWarning, match="one image of 64 x 64 px does not fit .* goes on on the CPU"):
        found = model.embed(np.full((64, 64, 3), 7, np.uint8))
    assert model.torch_device.type == "cpu"
    assert np.array_equal(found.patch_embeddings, expected.patch_embeddings)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_another_precision_is_another_recipe_and_moves_embeddings_a_little(name, images):
    exact = embedder(name)
    assert exact.recipe() == embedder(name, compute="float32").recipe()
    low = embedder(name, compute="bfloat16")
    assert low.recipe() == {**exact.recipe(), "compute": "bfloat16"}
    a, b = exact.embed(images[0]).patch_embeddings, low.embed(images[0]).patch_embeddings
    moved = np.abs(a - b).max() / np.abs(a).max()
    assert 1e-4 < moved < 0.1
    again = low.exact().embed(images[0]).patch_embeddings
    assert np.abs(again - a).max() <= 1e-5 * np.abs(a).max()
    assert np.array_equal(low.embed(images[0]).patch_embeddings, b)


def test_the_device_of_the_network_is_known_without_torch_where_there_is_no_gpu():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from uad_orchestrator.embedders import torch_device as t\n"
            "t._may_have_a_gpu = lambda: False\n"
            "print(t.compute_device('auto'), t.compute_device('cpu'), 'torch' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["cpu", "cpu", "False"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", SMALL)
def test_a_gpu_gives_the_embeddings_of_the_cpu(name, images):
    settings = EmbedderSettings(name=name, weights="random:0", **SMALL[name])
    on_cpu, on_gpu = create_embedder(settings, device="cpu"), create_embedder(settings, device="cuda")
    for a, b in zip(on_cpu.embed_batch(images), on_gpu.embed_batch(images), strict=True):
        assert (
            np.abs(a.patch_embeddings - b.patch_embeddings).max() <= 1e-4 * np.abs(a.patch_embeddings).max()
        )


def test_what_a_faster_precision_does_to_scores_is_measured_when_a_detector_is_fitted(images):
    from uad_orchestrator.detectors import create_detector

    def fitted(**values):
        settings = EmbedderSettings(name="resnet18", weights="random:0", image_size=64, **values)
        detector = create_detector("vision_patchcore", embedder=settings, contamination=0.2)
        return detector.fit([np.roll(images[1], 10 * i, axis=1) for i in range(6)])

    exact, fast = fitted(), fitted(compute="bfloat16")
    assert "compute_score_change" not in exact.state_.facts
    assert 1e-5 < fast.state_.facts["compute_score_change"] < 0.3


def test_the_device_that_auto_turned_out_to_be_is_what_is_recorded(images):
    from uad_orchestrator.detectors import create_detector

    settings = EmbedderSettings(name="resnet18", weights="random:0", image_size=64)
    detector = create_detector("vision_patchcore", embedder=settings, contamination=0.2).fit([images[1]] * 2)
    assert detector.device == str(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
