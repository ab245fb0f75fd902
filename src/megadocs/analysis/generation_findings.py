"""What the accounts of the generations say that a reader of the answer has to know: texts that were cut short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: From this share of cut texts on the answer says so: most arms then train on texts without an end.
_MAX_SILENT_SHARE = 0.1


def truncation_sentences(generations: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence on the tasks more than 10 % of whose texts the length limit cut; none where there is no such task.

    Args:
        generations: the results' `generations`: accounts with `task`, `ok` and `truncated`.
    """
    cut = {row["task"]: row["truncated"] / row["ok"] for row in generations if row["ok"]}
    parts = [f"{100 * share:.0f} % of the {task} texts" for task, share in cut.items() if share > _MAX_SILENT_SHARE]
    if not parts:
        return []
    return [
        f"The length limit cut {' and '.join(parts)}: they end in the middle. "
        "A higher max_new_tokens writes them whole."
    ]
