"""Weight files: formats, namings, and every way in which one can be wrong."""

import io

import numpy as np
import pytest

from tests.embedders.open_clip_models import TINY, register_tiny
from tests.embedders.real_files import needs_real_files, real_image, real_mask, real_weights
from uad_orchestrator.embedders.create import create_embedder
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.weights import WeightsError, load_weights, read_state_dict, require_sound

torch = pytest.importorskip("torch", reason="needs the torch extra")

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def resnet18():
    import torchvision

    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None).state_dict()


def embed(path, name="resnet18", **values):
    settings = EmbedderSettings(name=name, weights=str(path), image_size=64, **values)
    return create_embedder(settings).embed(IMAGE).patch_embeddings


def test_every_format_gives_the_same_embeddings(tmp_path, resnet18):
    from safetensors.torch import save_file

    torch.save(resnet18, tmp_path / "plain.pth")
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in resnet18.items()}, "epoch": 3},
        tmp_path / "lightning.ckpt",
    )
    save_file(resnet18, tmp_path / "safe.safetensors")
    plain = embed(tmp_path / "plain.pth")
    for other in ("lightning.ckpt", "safe.safetensors"):
        assert np.array_equal(embed(tmp_path / other), plain)


def test_layers_that_are_not_used_may_be_missing_and_used_ones_not(tmp_path, resnet18):
    torch.save(
        {k: v for k, v in resnet18.items() if not k.startswith(("layer4", "fc"))}, tmp_path / "cut.pth"
    )
    assert np.isfinite(embed(tmp_path / "cut.pth")).all()
    with pytest.raises(WeightsError, match=r"cut\.pth.*'layer4\.0\.conv1\.weight'"):
        embed(tmp_path / "cut.pth", layers=("layer4",))


def test_a_layer_of_zeros_is_a_layer_that_is_not_there(tmp_path, resnet18):
    torch.save(
        {k: v * 0 if k.startswith("layer4") else v for k, v in resnet18.items()}, tmp_path / "zero.pth"
    )
    assert np.isfinite(embed(tmp_path / "zero.pth")).all()
    with pytest.raises(WeightsError, match="zero throughout"):
        embed(tmp_path / "zero.pth", layers=("layer3", "layer4"))


def test_weights_of_another_model_are_refused(tmp_path, resnet18):
    torch.save(resnet18, tmp_path / "r18.pth")
    wider = {**resnet18, "layer1.0.conv1.weight": torch.ones(128, 64, 3, 3)}
    torch.save(wider, tmp_path / "wider.pth")
    with pytest.raises(WeightsError, match=r"'layer1\.0\.conv1\.weight' has shape \(128, 64, 3, 3\)"):
        embed(tmp_path / "wider.pth")
    with pytest.raises(WeightsError, match="another model"):
        embed(tmp_path / "r18.pth", name="resnet50")
    with pytest.raises(WeightsError, match="neither torchvision's nor timm's"):
        embed(tmp_path / "r18.pth", name="mobilenet_v2")
    with pytest.raises(WeightsError, match="missing"):
        embed(tmp_path / "r18.pth", name="vit_tiny_patch16_224")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("spoil", [float("nan"), float("inf"), 1e300], ids=["nan", "inf", "beyond float32"])
def test_values_that_are_not_finite_are_refused(tmp_path, resnet18, suffix, spoil):
    from safetensors.torch import save_file

    weight = resnet18["conv1.weight"].double()
    weight[0, 0, 0, 0] = spoil
    spoilt, path = {**resnet18, "conv1.weight": weight}, tmp_path / f"odd{suffix}"
    save_file(spoilt, path) if suffix == ".safetensors" else torch.save(spoilt, path)
    with pytest.raises(WeightsError, match=r"odd\..*'conv1\.weight' holds values that are not finite"):
        embed(path)


@pytest.mark.parametrize("name", ["mobilenetv2_100", "vit_tiny_patch16_224", f"open_clip/{TINY}"])
def test_every_family_refuses_them(tmp_path, name):
    if "/" in name:
        register_tiny(tmp_path)
        import open_clip

        model = open_clip.CLIP(**open_clip.get_model_config(TINY))
    else:
        import timm

        model = timm.create_model(name, pretrained=False)
    torch.save({k: v * float("nan") for k, v in model.state_dict().items()}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"odd\.pth: .* not finite"):
        embed(tmp_path / "odd.pth", name=name)


def test_a_sparse_tensor_is_named(tmp_path, resnet18):
    spoilt = {**resnet18, "conv1.weight": resnet18["conv1.weight"].to_sparse()}
    torch.save(spoilt, tmp_path / "sparse.pth")
    with pytest.raises(WeightsError, match=r"conv1\.weight' is a sparse tensor"):
        embed(tmp_path / "sparse.pth")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int8, torch.bool])
def test_values_that_are_no_floating_point_numbers_are_refused(tmp_path, resnet18, dtype):
    spoilt = {**resnet18, "conv1.weight": resnet18["conv1.weight"].to(dtype)}
    torch.save(spoilt, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"conv1\.weight' holds .* values"):
        embed(tmp_path / "odd.pth")


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_a_flipped_bit_is_found_by_the_files_own_checksums(tmp_path, resnet18, place):
    path = tmp_path / "r18.pth"
    torch.save(resnet18, path)
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 4
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"r18\.pth: is damaged: the checksum of .*data/"):
        embed(path)


def test_a_checkpoint_whose_list_of_members_is_damaged_is_named():
    stored = io.BytesIO()
    torch.save({"weight": torch.ones(8)}, stored)
    damaged = stored.getvalue().replace(b"PK\1\2", b"PK\1\0")
    with pytest.raises(WeightsError, match=r"model\.pt: is damaged \(Bad magic"):
        require_sound(io.BytesIO(damaged), "model.pt")


class Sneaky:
    def __reduce__(self):
        return (eval, ("1 / 0",))


@pytest.mark.parametrize("content", [b"", b"not weights at all", "pickle", "module", "empty"])
def test_a_file_that_holds_no_tensors_is_named_and_nothing_in_it_runs(tmp_path, content):
    path = tmp_path / "broken.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save({"pickle": Sneaky(), "module": torch.nn.Linear(1, 1), "empty": {}}[content], path)
    with pytest.raises(WeightsError, match=r"broken\.pth"):
        read_state_dict(path)


def test_a_missing_batch_counter_is_no_fault():
    norm = torch.nn.BatchNorm2d(3)
    tensors = {k: v + 1 for k, v in norm.state_dict().items() if k != "num_batches_tracked"}
    load_weights(norm, tensors, real_weights("x"), "norm")
    assert float(norm.running_mean[0]) == 1.0


def test_timm_and_torchvision_mobilenet_v2_are_one_network_under_two_names(tmp_path):
    """The same tensors under timm's names give torchvision's outputs, so matching by order is right."""
    import timm

    torch.manual_seed(3)
    model = timm.create_model("mobilenetv2_100", pretrained=False)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
    torch.save(model.state_dict(), tmp_path / "timm.pth")
    twin = embed(tmp_path / "timm.pth", name="mobilenet_v2", layers=("features.6", "features.13"))
    own = embed(tmp_path / "timm.pth", name="mobilenetv2_100", layers=("blocks.2", "blocks.4"))
    assert np.allclose(twin, own, rtol=1e-4, atol=1e-4 * np.abs(own).max())


HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


@needs_real_files
@pytest.mark.parametrize(
    ("name", "file", "values"),
    [
        ("resnet18", "resnet18_stem_to_layer3.pth", {}),
        ("mobilenet_v2", "mobilenetv2_100_ptq.pth", HALF),
        ("mobilenetv2_100", "mobilenetv2_100_ptq.pth", HALF),
        ("vit_tiny_patch16_224", "vit_tiny_patch16_224.pth", {}),
        ("vit_tiny_patch16_224", "vit_tiny_patch16_224.pth", {"pos_embed": "hub", "image_size": 320}),
    ],
)
def test_real_weights_see_a_hole_in_a_real_hazelnut(name, file, values):
    model = create_embedder(EmbedderSettings(name=name, weights=str(real_weights(file)), **values))
    good, hole = model.embed_batch([real_image("hazelnut"), real_image("hazelnut", "hole")])
    references, queries = good.patch_embeddings, hole.patch_embeddings
    distances = np.array([np.square(references - query).sum(axis=1).min() for query in queries])
    share = np.mean(real_mask("hazelnut", "hole", hole.grid_shape)[distances > np.quantile(distances, 0.98)])
    assert np.isfinite(distances).all()
    assert share > 0.5, "most of the farthest patches lie on the hole"


@needs_real_files
def test_the_real_resnet18_has_no_layer4_and_says_so():
    settings = EmbedderSettings(
        name="resnet18", weights=str(real_weights("resnet18_stem_to_layer3.pth")), layers=("layer4",)
    )
    with pytest.raises(WeightsError, match=r"layer4.*zero throughout"):
        create_embedder(settings).embed(IMAGE)
