"""The sections of the project file."""

from uad_orchestrator.project.settings.alerts import (
    AlertSettings,
    EmailSettings,
    SlackSettings,
    WebhookSettings,
)
from uad_orchestrator.project.settings.datasets import DatasetSettings, ImagesSettings
from uad_orchestrator.project.settings.detectors import (
    NO_PINS,
    CellPins,
    DetectorEntry,
    RepeatSettings,
    ResourceSettings,
    ReviewSettings,
)
from uad_orchestrator.project.settings.evaluation import ChecksSettings, EvaluationSettings
from uad_orchestrator.project.settings.line import AlarmSettings, DriftSettings, LineSettings
from uad_orchestrator.project.settings.machine import RuntimeSettings, StorageSettings
from uad_orchestrator.project.settings.running import (
    AutomationSettings,
    DagsterSettings,
    IntakeSettings,
    PoolSettings,
)
from uad_orchestrator.project.settings.section import PROJECT_FILE, Section

__all__ = [
    "NO_PINS",
    "PROJECT_FILE",
    "AlarmSettings",
    "AlertSettings",
    "AutomationSettings",
    "CellPins",
    "ChecksSettings",
    "DagsterSettings",
    "DatasetSettings",
    "DetectorEntry",
    "DriftSettings",
    "EmailSettings",
    "EvaluationSettings",
    "ImagesSettings",
    "IntakeSettings",
    "LineSettings",
    "PoolSettings",
    "RepeatSettings",
    "ResourceSettings",
    "ReviewSettings",
    "RuntimeSettings",
    "Section",
    "SlackSettings",
    "StorageSettings",
    "WebhookSettings",
]
