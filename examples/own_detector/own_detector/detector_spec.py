"""What uad_orchestrator has to know of the detector before any of it is loaded: its settings, cut by stage."""

from pydantic import Field, PositiveFloat, PositiveInt

from uad_orchestrator.detectors import Aggregation, DetectorSpec, MapSettings, ScoringSettings, Settings
from uad_orchestrator.embedders import EmbedderSettings


class PadimFit(Settings):
    """What the fitted state depends on; another value refits."""

    dimension: PositiveInt = Field(16, description="features that are kept, drawn at random")
    seed: int = Field(0, ge=0, description="of that draw")


class PadimScoring(ScoringSettings):
    """What the scores depend on beyond the state; another value scores again and refits nothing."""

    ridge: PositiveFloat = Field(0.01, description="added to the diagonal of each place's covariance")
    aggregation: Aggregation = "max"
    topk: float = Field(0.01, gt=0, le=1, description="share of the patches that topk_mean averages")


SPEC = DetectorSpec(
    model="own_padim",
    implementation="own_detector.padim:Padim",  # imported when the first image is fitted or scored
    fit=PadimFit,
    scoring=PadimScoring,
    default_embedder=EmbedderSettings(name="own_gradients"),
    default_maps=MapSettings(gaussian_sigma=4.0),
    versions={"fit": 1, "scoring": 1, "maps": 1},
)
