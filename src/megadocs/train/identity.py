"""What a run is, and the refusal to go on as something else.

`run.json` in the output folder holds everything that decides the numbers of a run: model, optimiser and data. A
resumed run must have the same; otherwise it is refused with every field that differs, old value and new. Settings
that only decide how the work is done (`Operational` in the recipe's section: micro-batch, device, checkpoint times,
trackers) are left out: they may change on resume.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from megadocs.errors import TrainingError
from megadocs.recipe.training import ModelConfig, TrainConfig
from megadocs.store.files import read_json


def run_identity(
    model: ModelConfig, train: TrainConfig, *, vocab_size: int, num_steps: int, seed: int, data: dict[str, Any] | None
) -> dict[str, Any]:
    """Everything that decides the numbers, as nested JSON values."""
    identity = {
        "model": model.model_dump(mode="json"),
        "train": train.model_dump(mode="json", exclude=set(train.operational_fields())),
        "vocab_size": vocab_size,
        "num_steps": num_steps,
        "seed": seed,
        "data": data or {},
    }
    plain: dict[str, Any] = json.loads(json.dumps(identity))
    return plain


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Lines `dotted.key: old -> new` for every leaf that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in sorted(old.keys() | new.keys()):
            dotted = f"{prefix}.{key}" if prefix else str(key)
            lines += differences(old.get(key), new.get(key), dotted)
        return lines
    return [] if old == new else [f"{prefix}: {json.dumps(old)} -> {json.dumps(new)}"]


def check_identity(path: Path, identity: dict[str, Any]) -> bool:
    """Whether a run lives here already; TrainingError if it is another one."""
    if not path.exists():
        return False
    changed = differences(read_json(path), identity)
    if changed:
        raise TrainingError(
            "this folder holds another run; what differs (there -> here):\n    " + "\n    ".join(changed),
            where=str(path),
            remedy="undo the change to go on with that run, or give this one a folder of its own",
        )
    return True
