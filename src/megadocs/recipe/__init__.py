"""The typed recipe: schema, loading with overrides, arms, fingerprints. No behaviour, no torch."""

from megadocs.recipe.arms import Arm, build_arms, own_code_names, select_runs
from megadocs.recipe.data import (
    CorpusConfig,
    LoadedTokenizer,
    PiecesConfig,
    SplitCounts,
    TokenizerConfig,
    TrainedTokenizer,
)
from megadocs.recipe.distillation import SampleConfig, TeacherConfig
from megadocs.recipe.evaluation import EnsembleConfig, EvaluateConfig, EvaluationSetConfig, MembersConfig
from megadocs.recipe.fingerprint import canonical_json, fingerprint
from megadocs.recipe.generation import (
    AskedTask,
    EngineConfig,
    GatesConfig,
    GenerateConfig,
    LimitsConfig,
    RephraseConfig,
    TaskConfig,
    ThoughtConfig,
)
from megadocs.recipe.load import base_name, load_recipe
from megadocs.recipe.plan import PlanConfig
from megadocs.recipe.published import PublishedConfig, PublishedDataset
from megadocs.recipe.recipe import NAME_PATTERN, Recipe
from megadocs.recipe.search import AxisConfig, SearchConfig, TuneBudget
from megadocs.recipe.shipped import recipe_path, shipped_names, shipped_path
from megadocs.recipe.streams import ExtraStream, MixtureConfig, StreamConfig
from megadocs.recipe.training import AnalysisConfig, ModelConfig, TrainConfig

__all__ = [
    "NAME_PATTERN",
    "AnalysisConfig",
    "Arm",
    "AskedTask",
    "AxisConfig",
    "CorpusConfig",
    "EngineConfig",
    "EnsembleConfig",
    "EvaluateConfig",
    "EvaluationSetConfig",
    "ExtraStream",
    "GatesConfig",
    "GenerateConfig",
    "LimitsConfig",
    "LoadedTokenizer",
    "MembersConfig",
    "MixtureConfig",
    "ModelConfig",
    "PiecesConfig",
    "PlanConfig",
    "PublishedConfig",
    "PublishedDataset",
    "Recipe",
    "RephraseConfig",
    "SampleConfig",
    "SearchConfig",
    "SplitCounts",
    "StreamConfig",
    "TaskConfig",
    "TeacherConfig",
    "ThoughtConfig",
    "TokenizerConfig",
    "TrainConfig",
    "TrainedTokenizer",
    "TuneBudget",
    "base_name",
    "build_arms",
    "canonical_json",
    "fingerprint",
    "load_recipe",
    "own_code_names",
    "recipe_path",
    "select_runs",
    "shipped_names",
    "shipped_path",
]
