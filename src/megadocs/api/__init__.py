"""megadocs from Python: what `import megadocs` offers, on top of the pipeline. docs/api.md says what stays as it is.

experiments.py   load_recipe, recipe_names, plan, run, open_workspace
results.py       Results: the report's answer, tables and figures
streams.py       Streams: an arm's windows in the order in which it trains on them
"""

from megadocs.api.experiments import OpenWorkspace, load_recipe, open_workspace, plan, recipe_names, run
from megadocs.api.results import Results
from megadocs.api.streams import Streams
from megadocs.errors import MegadocsError
from megadocs.pipeline.price.lines import Plan
from megadocs.recipe import Recipe

__all__ = [
    "MegadocsError",
    "OpenWorkspace",
    "Plan",
    "Recipe",
    "Results",
    "Streams",
    "load_recipe",
    "open_workspace",
    "plan",
    "recipe_names",
    "run",
]
