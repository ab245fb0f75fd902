"""`search.start: paper`: the published table, scaled by width, moved to the grid."""

import pytest

from megadocs.errors import RecipeError
from megadocs.pipeline.tune.space import build_spaces
from megadocs.pipeline.tune.start import paper_start
from megadocs.recipe import Recipe, build_arms

AXES = {
    "train.real_epochs": {"values": [4, 8, 16, 32]},
    "train.learning_rate": {"values": [0.001, 0.003, 0.01, 0.03]},
    "train.weight_decay": {"values": [0.4, 0.8, 1.6]},
    "mixture.synthetic_fraction": {"values": [0.5, 0.75, 0.9]},
}


def recipe_of(ordering, num_generations, **model):
    synthetic = {"stream.ordering": ordering, "mixture.synthetic_fraction": 0.5} if ordering else {}
    return Recipe.model_validate(
        {
            "name": "paper",
            "corpus": {"source": "texts", "split": "auto"},
            "generate": {
                "engine": {"kind": "fake", "model": "fake"},
                "rephrase": {"num_generations": num_generations},
                "thought": {"num_generations": num_generations},
            },
            "model": model if "init_from" in model else {"preset": "300m", **model},
            "arms": {"arm": synthetic},
            "search": {"axes": AXES, "start": "paper"},
        }
    )


@pytest.mark.parametrize(
    "ordering, num_generations, expected",
    [
        (None, 2, (16, 3e-3, 1.6, None)),
        ("simple", 4, (8, 3e-3, 0.8, 0.75)),
        ("stitched", 8, (16, 3e-3, 0.4, 0.75)),
        ("stitched", 32, (32, 1e-3, 0.4, 0.9)),
        ("latent_thoughts", 8, (8, 3e-3, 0.4, 0.75)),
        ("stitched", 3, (8, 3e-3, 0.4, 0.75)),  # 3 is nearer to 4 than to 2, by ratio
    ],
)
def test_a_student_of_the_papers_width_begins_at_the_papers_setting(ordering, num_generations, expected):
    (space,) = build_spaces(recipe_of(ordering, num_generations))
    values = space.grid.setting(space.start)
    assert tuple(values.get(name) for name in AXES) == expected


def test_the_learning_rate_follows_the_width():
    (arm,) = build_arms(recipe_of("simple", 4, hidden_size=256, num_attention_heads=4, num_key_value_heads=4))
    assert paper_start(arm.recipe, "arm")["train.learning_rate"] == pytest.approx(9e-3)


def test_a_student_that_goes_on_from_a_model_is_refused():
    with pytest.raises(RecipeError) as caught:
        build_spaces(recipe_of("simple", 4, init_from="some/model"))
    assert caught.value.where == "search.start"


def test_without_start_the_recipes_own_values_count():
    own = recipe_of("simple", 4).model_copy(deep=True)
    search = own.search.model_copy(update={"start": {}})
    (space,) = build_spaces(own.model_copy(update={"search": search}))
    assert space.grid.setting(space.start)["mixture.synthetic_fraction"] == 0.5
