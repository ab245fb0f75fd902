"""megadocs: data-efficient pre-training with synthetic variants of scarce documents.

    import megadocs

    recipe = megadocs.load_recipe("quickstart", {"corpus.source": "my_texts/", "corpus.split": "auto"})
    print(megadocs.plan(recipe).seconds)                    # expected, before anything starts
    workspace = megadocs.run(recipe, "runs/mine")           # documents -> report
    print(workspace.results.answer[0])
    windows = workspace.streams("stitched").to_torch()      # for a trainer of your own

The names in `__all__` are the stable ones (docs/api.md). They are imported when they are first used.
"""

import importlib

__version__ = "0.1.0"

__all__ = [
    "MegadocsError",
    "OpenWorkspace",
    "Plan",
    "Recipe",
    "Results",
    "Streams",
    "__version__",
    "load_recipe",
    "open_workspace",
    "plan",
    "recipe_names",
    "run",
]


def __getattr__(name: str) -> object:
    """One of the stable names, from `megadocs.api`."""
    if name in __all__:
        value = getattr(importlib.import_module(".api", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
