"""Dotted paths: keys that contain dots are found, new names are told apart from fields."""

import pytest

from megadocs.errors import RecipeError
from megadocs.recipe import build_arms, load_recipe
from megadocs.recipe.overrides import set_dotted, split_path

DATA = {
    "train": {"real_epochs": 8},
    "arms": {"simple": {"train.learning_rate": 0.1}, "v1.5": {}, "v1": {}, "whole": {"mixture": {"real_multiple": 2}}},
    "search": {"axes": {"train.real_epochs": {"values": [8, 16]}}, "start": {"train.real_epochs": 8}},
    "evaluate": {"sets": {"web.txt": {"source": "a"}}},
}

PATHS = {
    "train.real_epochs": ["train", "real_epochs"],
    "train.new": ["train", "new"],
    "seeds": ["seeds"],
    "search.max_runs": ["search", "max_runs"],
    "search.axes.train.real_epochs": ["search", "axes", "train.real_epochs"],
    "search.axes.train.real_epochs.upper": ["search", "axes", "train.real_epochs", "upper"],
    "search.axes.train.real_epochs.uper": ["search", "axes", "train.real_epochs", "uper"],
    "search.axes.train.batch_size": ["search", "axes", "train.batch_size"],
    "search.axes.train.batch_size.values": ["search", "axes", "train.batch_size", "values"],
    "search.start.train.weight_decay": ["search", "start", "train.weight_decay"],
    "arms.simple": ["arms", "simple"],
    "arms.simple.train.learning_rate": ["arms", "simple", "train.learning_rate"],
    "arms.simple.train.weight_decay": ["arms", "simple", "train.weight_decay"],
    "arms.v1.5.train.weight_decay": ["arms", "v1.5", "train.weight_decay"],
    "arms.v1.train.weight_decay": ["arms", "v1", "train.weight_decay"],
    "arms.v2.5.train.weight_decay": ["arms", "v2.5", "train.weight_decay"],
    "arms.whole.mixture.real_multiple": ["arms", "whole", "mixture", "real_multiple"],
    "arms.fresh": ["arms", "fresh"],
    "evaluate.sets.web.txt.source": ["evaluate", "sets", "web.txt", "source"],
}


@pytest.mark.parametrize("dotted", PATHS)
def test_a_path_means_these_keys(dotted):
    assert split_path(DATA, dotted) == PATHS[dotted]


def test_mappings_on_the_way_are_made_and_values_replaced():
    data = {"search": {"start": "paper"}}
    set_dotted(data, "search.start.train.real_epochs", 4)
    set_dotted(data, "search.axes.model.num_hidden_layers.values", [1, 2])
    assert data == {
        "search": {"start": {"train.real_epochs": 4}, "axes": {"model.num_hidden_layers": {"values": [1, 2]}}}
    }


def test_the_command_line_reaches_axes_and_arms(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: small\ncorpus: {source: texts/}\narms: {simple: {train.learning_rate: 0.1}}\n"
        "search: {axes: {train.real_epochs: {values: [8, 16], upper: 128}}}\n"
    )
    recipe = load_recipe(
        path,
        [
            "search.axes.train.real_epochs.upper=64",
            "search.axes.train.batch_size.values=[4,8]",
            "search.start.train.real_epochs=16",
            "arms.simple.train.learning_rate=1e-2",
            "arms.other.train.weight_decay=0.4",
        ],
    )
    assert recipe.search.axes["train.real_epochs"].upper == 64
    assert recipe.search.axes["train.real_epochs"].values == [8, 16]
    assert recipe.search.axes["train.batch_size"].values == [4, 8]
    assert recipe.search.start == {"train.real_epochs": 16}
    simple, other = build_arms(recipe)
    assert (simple.recipe.train.learning_rate, other.recipe.train.weight_decay) == (0.01, 0.4)
    with pytest.raises(RecipeError) as raised:
        load_recipe(path, ["search.axes.train.real_epochs.uper=64"])
    assert raised.value.where.endswith("search.axes.train.real_epochs.uper")
    assert "upper" in raised.value.remedy
