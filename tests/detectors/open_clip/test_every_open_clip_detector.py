"""The OpenCLIP detectors on a real, small OpenCLIP model with random weights."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.embedders.open_clip_models import TINY_SETTINGS, register_tiny, tiny_embedder
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.embedders.settings import EmbedderSettings

pytest.importorskip("open_clip", reason="needs the clip extra")

SCORE, PATCH, KNN = "vision_openclip_promptscore", "vision_openclip_prompt_patch", "vision_openclip_patchknn"


@pytest.fixture(scope="module", autouse=True)
def _tiny(tmp_path_factory):
    register_tiny(tmp_path_factory.mktemp("open_clip"))


def grey(n, size=(90, 200)):
    rng = np.random.default_rng(0)
    return [np.clip(rng.normal(128, 6, (*size, 3)), 0, 255).astype(np.uint8) for _ in range(n)]


def with_square(image, top=16, left=150, side=24):
    spotted = image.copy()
    spotted[top : top + side, left : left + side] = (250, 20, 20)
    return spotted


class Prompted:
    """The tiny model, whose prompts point at what example patches look like: those of a square, and grey ones."""

    def __init__(self, **values):
        self.model = tiny_embedder(**values)
        plain = grey(1)[0]
        examples = self.model.embed_batch([with_square(plain, 0, 0, side=200), plain])
        self.anomalous, self.normal = (example.patch_embeddings.mean(axis=0) for example in examples)
        self.recipe, self.embed, self.embed_batch = (
            self.model.recipe,
            self.model.embed,
            self.model.embed_batch,
        )

    def text_recipe(self):
        return {"text": "by example"}

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self.anomalous if "broken" in text else self.normal for text in texts])


PROMPTS = {"normal": ["{}"], "anomalous": ["broken {}"], "templates": ["{}"]}


@pytest.mark.parametrize("model", [KNN, SCORE, PATCH])
@pytest.mark.parametrize("values", [{}, {"resize": "shorter_edge"}, {"vv_blocks": 1}], ids=str)
def test_a_square_lights_up_where_it_was_planted_on_a_non_square_image(model, values):
    settings = {"prompts": PROMPTS} if model != KNN else {}
    if model == PATCH:
        settings["temperature"] = 1.0  # at 0.07 these far-apart prompts leave nothing but 0 and 1
    detector = create_detector(model, embedder=Prompted(**values), maps={"gaussian_sigma": 1.0}, **settings)
    detector.fit(grey(3))
    found = detector.get_anomaly_map(with_square(grey(4)[3]))
    assert found.shape == (90, 200)
    row, column = np.unravel_index(found.argmax(), found.shape)
    # up to half a patch beside it: a patch is 11 x 25 px of the image when squashed, 11 x 11 px otherwise
    assert 16 - 6 <= row < 40 + 6 and 150 - 13 <= column < 174 + 13
    elsewhere = found.copy()
    elsewhere[:52, 112:] = -np.inf
    assert found.max() > elsewhere.max()


@pytest.mark.parametrize(
    ("model", "settings"),
    [(KNN, {}), (SCORE, {}), (PATCH, {"windows": [2, 3, "image"], "references": {"k": 2}})],
    ids=[KNN, SCORE, PATCH],
)
def test_one_image_scores_as_in_a_batch_and_the_same_again(model, settings):
    def scores(batch_size, images):
        embedder = EmbedderSettings(**TINY_SETTINGS, vv_blocks=2, resize="shorter_edge")
        detector = create_detector(model, embedder=embedder, batch_size=batch_size, **settings).fit(grey(3))
        return detector.decision_function(images), detector.threshold_

    images = [with_square(grey(1)[0]), *grey(5)[3:], with_square(grey(1, (120, 70))[0], left=30)]
    together, threshold = scores(8, images)
    alone, threshold_alone = scores(1, images)
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    assert threshold == pytest.approx(threshold_alone, rel=1e-4)
    assert np.array_equal(together, scores(8, images)[0])


def test_several_layers_go_into_a_bank_but_not_against_prompts():
    embedder = EmbedderSettings(**TINY_SETTINGS, layers=("0", "-1"))
    assert create_detector(KNN, embedder=embedder).fit(grey(2)).state_.facts["dimension"] == 32
    for model in (SCORE, PATCH):
        with pytest.raises(ValueError, match=r"embedder\.layers: prompts"):
            create_detector(model, embedder=embedder)


def test_class_names_and_prompts_change_what_the_text_tower_says():
    embedder = EmbedderSettings(**TINY_SETTINGS)

    def score(**settings):
        return float(
            create_detector(SCORE, embedder=embedder, **settings).fit(grey(2)).decision_function(grey(1))[0]
        )

    scores = {
        score(),
        score(class_name="bottle"),
        score(prompts=PROMPTS),
        score(class_name="bottle", prompts=PROMPTS),
    }
    assert len(scores) == 4
