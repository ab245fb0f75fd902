"""Writing synthetic text: tasks, prompts, the ledger and its accounting, engines.

    requests = plan_requests(config, "rephrase", documents)            # what is asked for; nothing is sent
    accounting = run_generation(config, "rephrase", documents, ledger_dir, progress, should_stop)
    export_generations(requests, ledger_dir, path)                     # Parquet, sorted, reproducible bytes

Start with `runner` (how a run works), then `requests` (identities), `ledger` (durability), `engines/protocol`.
"""

from __future__ import annotations

from megadocs.generate.accounting import Accounting, GenerationProgress
from megadocs.generate.engines import EngineInfo, build_engine, engine_identity, engine_info
from megadocs.generate.export import export_generations
from megadocs.generate.ledger import Ledger, LedgerIndex, load_index
from megadocs.generate.plan import iter_requests, plan_requests
from megadocs.generate.records import GenerationRecord
from megadocs.generate.requests import GenerationRequest
from megadocs.generate.runner import run_generation

__all__ = [
    "Accounting",
    "EngineInfo",
    "GenerationProgress",
    "GenerationRecord",
    "GenerationRequest",
    "Ledger",
    "LedgerIndex",
    "build_engine",
    "engine_identity",
    "engine_info",
    "export_generations",
    "iter_requests",
    "load_index",
    "plan_requests",
    "run_generation",
]
