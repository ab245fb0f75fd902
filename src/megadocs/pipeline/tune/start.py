"""Where a walk begins with `search.start: paper`: the method's published best setting, scaled to the student.

The settings are arXiv:2603.18534's (`kinds.OrderingSpec.start`), for a student of 300M parameters with hidden size 768
and 204M real tokens: real epochs, synthetic fraction, learning rate and weight decay for each ordering and number of
generations. Only the learning rate is scaled, by 768 / hidden size: with AdamW the rate that suits a matrix falls with
its number of inputs (arXiv:2203.03466). Weight decay has no such rule without knowing the number of steps; the walk
finds it.
"""

from __future__ import annotations

import math

from megadocs.errors import RecipeError
from megadocs.kinds import Setting, ordering_names, ordering_spec
from megadocs.model import resolve_config
from megadocs.pipeline.steps.experiment import expected_vocab_size
from megadocs.pipeline.steps.rows import with_generations
from megadocs.recipe import Recipe

#: Orderings that the paper did not tune begin where this one does.
_UNTUNED_BEGIN_AS = "simple"
_REAL_ONLY = Setting(16, 0.0, 3e-3, 1.6)
_PAPER_HIDDEN_SIZE = 768


def paper_start(recipe: Recipe, arm: str) -> dict[str, float]:
    """Dotted key -> value for the four settings that the paper tuned.

    Orderings that it did not tune begin where `simple` does; a G between two of the table's where the nearer one does.

    Args:
        arm: its name, for messages.

    Raises:
        RecipeError: the student continues from a pretrained checkpoint, for which the table says nothing.
    """
    if recipe.model.init_from is not None:
        raise RecipeError(
            "the paper's settings are for students that begin from nothing",
            where="search.start",
            remedy=f"give the start of arm {arm!r} as dotted keys and values",
        )
    epochs, fraction, learning_rate, weight_decay = _setting(recipe)
    shape = resolve_config(
        recipe.model, vocab_size=expected_vocab_size(recipe), context_length=recipe.train.context_length
    )
    return {
        "train.real_epochs": epochs,
        "mixture.synthetic_fraction": fraction,
        "train.learning_rate": learning_rate * _PAPER_HIDDEN_SIZE / shape.hidden_size,
        "train.weight_decay": weight_decay,
    }


def _setting(recipe: Recipe) -> Setting:
    ordering = recipe.stream.ordering
    if ordering is None or not recipe.mixture.synthetic_fraction:
        return _REAL_ONLY
    own = ordering_spec(ordering).start if ordering in ordering_names() else {}
    by_generations = own or ordering_spec(_UNTUNED_BEGIN_AS).start
    stream = with_generations(recipe)
    wanted = stream.num_generations or stream.num_thoughts or min(by_generations)
    return by_generations[min(by_generations, key=lambda number: (abs(math.log(number / wanted)), number))]
