"""The sections of a data set's settings, each option with its meaning, unit and range."""

from imgpipe.settings.operations import (
    AssetSettings,
    AutomationSettings,
    CostSettings,
    JobSettings,
    ModelSettings,
)
from imgpipe.settings.pictures import (
    EnhanceSettings,
    FileSettings,
    FixSettings,
    RembgSettings,
    UpscaleSettings,
)
from imgpipe.settings.quality import QualitySettings
from imgpipe.settings.ray import RaySettings
from imgpipe.settings.review import ReviewSettings
from imgpipe.settings.section import ActionSection, Section, suggest
from imgpipe.settings.sources import IntakeSettings, IsolationSettings, LimitSettings, S3Settings

__all__ = [
    "ActionSection",
    "AssetSettings",
    "AutomationSettings",
    "CostSettings",
    "EnhanceSettings",
    "FileSettings",
    "FixSettings",
    "IntakeSettings",
    "IsolationSettings",
    "JobSettings",
    "LimitSettings",
    "ModelSettings",
    "QualitySettings",
    "RaySettings",
    "RembgSettings",
    "ReviewSettings",
    "S3Settings",
    "Section",
    "UpscaleSettings",
    "suggest",
]
