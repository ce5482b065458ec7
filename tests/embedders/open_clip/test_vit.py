"""OpenCLIP's towers against open_clip's own forward passes, and against CLIP Surgery's procedure."""

import numpy as np
import pytest

from tests.embedders.open_clip_models import TINY, TINY_SETTINGS, register_tiny, tiny_embedder
from uad_orchestrator.embedders.create import create_embedder, embedder_recipe, resolve_settings, weight_file
from uad_orchestrator.embedders.open_clip.names import DEFAULT_HUBS, is_open_clip, patch_and_size
from uad_orchestrator.embedders.protocol import PatchEmbedder, TextEmbedder
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.weights import WeightsError

torch = pytest.importorskip("torch", reason="needs the torch extra")
open_clip = pytest.importorskip("open_clip", reason="needs the clip extra")


@pytest.fixture(scope="module", autouse=True)
def _tiny(tmp_path_factory):
    register_tiny(tmp_path_factory.mktemp("open_clip"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The weights of a tiny model as open_clip saves them."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    torch.save(open_clip.CLIP(**open_clip.get_model_config(TINY)).state_dict(), path)
    return path


def published(checkpoint, size=None):
    model, _, _ = open_clip.create_model_and_transforms(
        TINY, pretrained=str(checkpoint), force_image_size=size
    )
    return model.eval()


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def normalised(image):
    unit = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    return (unit - mean) / std


def close(found, expected):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("size", [(64, 64), (64, 128), (96, 40)], ids=str)
def test_patch_tokens_are_open_clips_at_any_input_size_in_the_joint_space(checkpoint, size):
    model = tiny_embedder(weights=str(checkpoint), image_size=size)
    visual = published(checkpoint, size).visual
    visual.output_tokens = True
    with torch.inference_mode():
        _, tokens = visual(normalised(picture(*size)))
        expected = (tokens @ visual.proj)[0].numpy()
    found = model.embed(picture(*size))
    assert found.grid_shape == (size[0] // 8, size[1] // 8)
    close(found.patch_embeddings, expected)


def test_other_layers_are_open_clips_intermediates(checkpoint):
    visual = published(checkpoint).visual
    with torch.inference_mode():
        layers = visual.forward_intermediates(
            normalised(picture(64, 64)), indices=[0, 1], normalize_intermediates=True, output_fmt="NLC"
        )["image_intermediates"]
        expected = torch.cat([tokens @ visual.proj for tokens in layers], dim=-1)[0].numpy()
    close(
        tiny_embedder(weights=str(checkpoint), layers=("0", "-2")).embed(picture(64, 64)).patch_embeddings,
        expected,
    )


def surgery(visual, batch, depth):
    """CLIP Surgery's two paths, head by head (xmed-lab/CLIP_Surgery, clip_surgery_model.py)."""
    tokens = visual._embeds(batch)
    blocks = visual.transformer.resblocks
    for block in blocks[:-depth]:
        tokens = block(tokens)
    original = new = tokens
    for block in blocks[-depth:]:
        attention, inside = block.attn, block.ln_1(original)
        values = inside @ attention.in_proj_weight.chunk(3)[2].T + attention.in_proj_bias.chunk(3)[2]
        heads = []
        for head in values.chunk(attention.num_heads, dim=-1):
            similar = head @ head.transpose(1, 2) * head.shape[-1] ** -0.5
            heads.append(similar.softmax(dim=-1) @ head)
        new = new + attention.out_proj(torch.cat(heads, dim=-1))
        original = block(original)
    return (visual.ln_post(new[:, 1:]) @ visual.proj)[0].numpy()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_vv_blocks_are_clip_surgerys(checkpoint, depth):
    with torch.inference_mode():
        expected = surgery(published(checkpoint).visual, normalised(picture(64, 64)), depth)
    found = tiny_embedder(weights=str(checkpoint), vv_blocks=depth).embed(picture(64, 64)).patch_embeddings
    close(found, expected)


def test_texts_are_open_clips(checkpoint):
    texts = ["a photo of a damaged metal nut.", "nut", "a jpeg corrupted photo of the flawless transistor."]
    with torch.inference_mode():
        expected = published(checkpoint).encode_text(open_clip.get_tokenizer(TINY)(texts)).numpy()
    model = tiny_embedder(weights=str(checkpoint))
    close(model.embed_texts(texts), expected)
    for text, row in zip(texts, expected, strict=True):  # alone as among others
        close(model.embed_texts([text]), row[None])


def test_both_towers_of_a_seed_come_from_one_draw():
    torch.manual_seed(0)
    whole = open_clip.CLIP(**open_clip.get_model_config(TINY)).eval()
    visual, model = whole.visual, tiny_embedder()
    visual.output_tokens = True
    with torch.inference_mode():
        text = whole.encode_text(open_clip.tokenize(["a bottle"])).numpy()
        tokens = (visual(normalised(picture(64, 64)))[1] @ visual.proj)[0].numpy()
    close(model.embed_texts(["a bottle"]), text)
    close(model.embed(picture(64, 64)).patch_embeddings, tokens)


def test_a_prompt_that_would_be_cut_off_is_refused():
    with pytest.raises(ValueError, match=r"has 80 tokens, .* reads 75: shorten it"):
        tiny_embedder().embed_texts(["good", " ".join(["nut"] * 80)])
    assert np.isfinite(tiny_embedder().embed_texts([" ".join(["nut"] * 75)])).all()


@pytest.mark.parametrize("values", [{}, {"resize": "shorter_edge", "vv_blocks": 2}], ids=str)
def test_alone_equals_in_a_batch_of_mixed_sizes(values):
    model = tiny_embedder(**values)
    assert isinstance(model, PatchEmbedder) and isinstance(model, TextEmbedder)
    images = [picture(70, 130, 1), picture(64, 64, 2), picture(130, 70, 3), picture(70, 130, 4)]
    for image, found in zip(images, model.embed_batch(images), strict=True):
        alone = model.embed(image)
        assert found[1:] == alone[1:]
        scale = np.abs(alone.patch_embeddings).max()
        assert np.abs(found.patch_embeddings - alone.patch_embeddings).max() <= 1e-4 * scale
        again = tiny_embedder(**values).embed(image)
        assert np.array_equal(again.patch_embeddings, alone.patch_embeddings)


def test_never_a_centre_crop():
    assert tiny_embedder().embed(picture(60, 100)).region == (0, 0, 60, 100)
    kept = tiny_embedder(resize="shorter_edge").embed(picture(60, 100))
    assert (kept.grid_shape, kept.input_size) == ((8, 13), (64, 104))
    assert kept.region == pytest.approx((0, 0, 60, 100 * 104 / 106))


def test_every_setting_does_something_and_is_in_the_recipe():
    base = tiny_embedder().embed(picture(70, 130)).patch_embeddings
    for values in ({"layers": ("0",)}, {"layers": ("0", "1")}, {"vv_blocks": 1}, {"vv_blocks": 2}, {"image_size": 96},
                   {"resize": "shorter_edge"}, {"mean": (0.5,) * 3}, {"std": (0.5,) * 3},
                   {"weights": "random:1"}):  # fmt: skip
        other = tiny_embedder(**values).embed(picture(70, 130)).patch_embeddings
        assert other.shape != base.shape or not np.allclose(other, base), values
        changed = embedder_recipe(EmbedderSettings(**{**TINY_SETTINGS, **values}))
        assert changed != embedder_recipe(EmbedderSettings(**TINY_SETTINGS)), values


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dimension": 8}, "has no dimension"),
        ({"pos_embed": "timm"}, "has no pos_embed"),
        ({"layers": ("layer2",)}, "block numbers"),
        ({"image_size": 60}, "such as 64"),
        ({"name": "open_clip/ViT-B-16-SigLIP"}, "did you mean 'open_clip/ViT-B-16"),
        ({"name": "open_clip/RN50"}, "is unknown"),
        ({"name": "resnet18", "vv_blocks": 0}, r"vv_blocks: resnet18 has no vv_blocks"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values, said):
    with pytest.raises(ValueError, match=said):
        resolve_settings(EmbedderSettings(**{**TINY_SETTINGS, **values}))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"layers": ("3",)}, r"blocks 0\.\.2"),
        ({"vv_blocks": 4}, "has 3 blocks, not 4"),
        ({"name": "open_clip/ViT-Tinny-8-064"}, f"did you mean '{TINY}'"),
    ],
)
def test_blocks_and_models_that_are_not_there(values, said):
    with pytest.raises(ValueError, match=said):
        tiny_embedder(**values).embed(picture(64, 64))


def test_a_file_has_to_hold_the_tower_that_is_wanted(checkpoint, tmp_path):
    stored = torch.load(checkpoint, weights_only=True)
    torch.save({k: v for k, v in stored.items() if k.startswith("visual.")}, tmp_path / "image_only.pt")
    half = tiny_embedder(weights=str(tmp_path / "image_only.pt"))
    assert np.isfinite(half.embed(picture(64, 64)).patch_embeddings).all()
    with pytest.raises(WeightsError, match=r"image_only\.pt: .* tensors that .* needs are missing"):
        half.embed_texts(["a bottle"])


def test_no_weights_is_an_error_that_says_which_file_goes_where(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    settings = EmbedderSettings(name="open_clip/ViT-B-16-plus-240")
    with pytest.raises(WeightsError, match=r"hf download timm/\S+laion400m_e31 open_clip_model\.safetensors"):
        weight_file(settings, tmp_path)
    with pytest.raises(WeightsError, match="has no weights"):
        weight_file(EmbedderSettings(name=f"open_clip/{TINY}"), tmp_path)


def test_a_missing_extra_is_an_import_error_with_the_line_to_type(monkeypatch):
    from uad_orchestrator import extras

    found = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda module: None if module == "open_clip" else found(module))
    with pytest.raises(ImportError, match=r"pip install 'uad_orchestrator\[clip\]'"):
        create_embedder(EmbedderSettings(**TINY_SETTINGS))


def test_what_a_name_says_is_what_open_clip_has():
    known = 0
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        vision, text = config["vision_cfg"], config["text_cfg"]
        plain = (
            "timm_model_name" not in vision
            and "hf_model_name" not in text
            and isinstance(vision["layers"], int)
        )
        plain &= "hf_tokenizer_name" not in text and "multimodal_cfg" not in config
        assert is_open_clip(f"open_clip/{name}") == plain, name
        if plain:
            known += 1
            assert patch_and_size(f"open_clip/{name}") == (vision["patch_size"], vision["image_size"]), name
    assert known > 30


@pytest.mark.parametrize("name", DEFAULT_HUBS)
def test_the_default_weights_are_open_clips_and_expect_its_normalisation(name):
    tags = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    matching = [tag for tag in tags if tag["hf_hub"] == DEFAULT_HUBS[name] + "/"]
    assert matching
    for tag in matching:
        assert tag["mean"] == open_clip.OPENAI_DATASET_MEAN and tag["std"] == open_clip.OPENAI_DATASET_STD
        assert tag.get("quick_gelu", False) == open_clip.get_model_config(name).get("quick_gelu", False)
