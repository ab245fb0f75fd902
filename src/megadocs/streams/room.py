"""How much room the order of rows has: what a window holds, and how long a student must train to read it.

    room_for_order(context_length=4096, row_tokens=600, megadoc_tokens=20_000)["rows_per_window"]

Arithmetic that the plan prints before a run and the gate puts beside what it measured (docs/order.md).
"""

from __future__ import annotations

import math


def formation_tokens(batch_size: int, context_length: int) -> float:
    """Training tokens after which in-context copying appears, at a rate of 2.5e-4: an order of magnitude.

    10**5.7 * sqrt(sequences in a batch * tokens of context), whatever the model's size (arXiv:2511.16893); sooner at
    higher rates and with repetition in the context (arXiv:2505.17863; in the controlled world at 3e-3 thirty times).
    """
    return float(10**5.7 * math.sqrt(batch_size * context_length))


def room_for_order(context_length: int, row_tokens: float, megadoc_tokens: float) -> dict[str, float]:
    """How much of a document's rows one window can hold: `rows_per_window`, and `windows_per_megadoc`.

    Args:
        row_tokens: mean tokens of a row.
        megadoc_tokens: tokens of a document with its siblings.
    """
    return {
        "rows_per_window": context_length / row_tokens,
        "windows_per_megadoc": megadoc_tokens / context_length,
    }
