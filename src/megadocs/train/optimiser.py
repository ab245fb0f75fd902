"""AdamW with the decay mask of the paper, and its state by parameter name.

    optimiser = build_optimiser(model, config)
    set_rates(optimiser, learning_rate=3e-3, weight_decay=0.8)

Decoupled weight decay, lr(t) x weight_decay a step (facts, section 6). Decayed: attention, feed-forward and the
output head. Not decayed: norms and the token embedding (which, tied, is the head too and stays undecayed). torch's
fused kernel: 0.8 ms a step at 1.3M parameters on one core, against 3 ms for the foreach and the plain one.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from megadocs.recipe.training import TrainConfig

_MOMENTS = ("exp_avg", "exp_avg_sq")


def is_decayed(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies to the parameter of this name."""
    return parameter.ndim >= 2 and not name.endswith("embed_tokens.weight")


def build_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the model's parameters in two groups: decayed, not decayed."""
    named = list(model.named_parameters())
    groups = [
        {"params": [p for name, p in named if is_decayed(name, p)], "decayed": True},
        {"params": [p for name, p in named if not is_decayed(name, p)], "decayed": False},
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        weight_decay=0.0,
        fused=True,
    )


def set_rates(optimiser: torch.optim.Optimizer, *, learning_rate: float, weight_decay: float) -> None:
    """Set this step's learning rate on all groups and its weight decay on the decayed one."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
        group["weight_decay"] = weight_decay if group["decayed"] else 0.0


def moments(optimiser: torch.optim.Optimizer, named: Iterable[tuple[str, Tensor]], *, step: int) -> dict[str, Tensor]:
    """Both moments of every parameter, named `exp_avg.<name>` and `exp_avg_sq.<name>`.

    A parameter that has none yet gets zeros and the number of updates `step`, ready to be filled in place.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in named:
        state = optimiser.state[parameter]
        if not state:
            state["step"] = torch.tensor(float(step), dtype=torch.float32, device=parameter.device)
            state.update({moment: torch.zeros_like(parameter) for moment in _MOMENTS})
        tensors |= {f"{moment}.{name}": state[moment] for moment in _MOMENTS}
    return tensors
