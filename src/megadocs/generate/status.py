"""What a ledger holds of what a recipe asks for, without running anything.

    accounting = read_accounting(config, "rephrase", documents, load_index(ledger_dir))     # `megadocs generate status`

Reads without the lock, so it works while a run is writing.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable

import numpy as np

from megadocs.documents import Document
from megadocs.generate.accounting import Accounting
from megadocs.generate.dispatch import Tally, sort_requests
from megadocs.generate.engines import EngineInfo
from megadocs.generate.ledger import LedgerIndex
from megadocs.generate.plan import iter_requests
from megadocs.generate.records import STATUS_CODES
from megadocs.recipe import GenerateConfig


def read_accounting(
    config: GenerateConfig,
    task: str,
    documents: Iterable[Document],
    index: LedgerIndex,
    info: EngineInfo | None = None,
) -> Accounting:
    """The accounting of a task as it stands on disk; nothing of an invocation is in it.

    Args:
        info: what is known of the engine; found out when None.

    Raises:
        RecipeError: the recipe does not ask for the task.
    """
    tally, requested = Tally(), 0
    for todo, standing in sort_requests(iter_requests(config, task, documents, info), index):
        for item in todo:
            requested += item.record is None  # a document that is to be judged as a whole holds others, too
            if item.record is not None:
                standing.add(item.record)
        requested += standing.done
        tally.merge(standing)
    return tally.accounting(
        requested,
        num_sent=0,
        spent_prompt_tokens=0,
        spent_new_tokens=0,
        cost=0.0,
        seconds=0.0,
        stopped=None,
    )


def count_reasons(index: LedgerIndex, limit: int = 5) -> dict[str, int]:
    """What the servers said of the failed generations: `class: status, code, parameter, words` -> how many, most first.

    Args:
        limit: of different reasons.
    """
    failed = np.flatnonzero(index.head["status"] == STATUS_CODES["failed"])
    reasons = collections.Counter(
        f"{record.error}: {record.message}" for record in index.read(failed) if record is not None and record.message
    )
    return dict(reasons.most_common(limit))
