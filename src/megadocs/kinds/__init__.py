"""Kinds: what is asked of a generator, what rows are made of, and how a stream orders them.

    task_kind("rephrase").placeholders         # what its prompt styles show
    row_kind("latent_thoughts").code           # enters row keys, for ever
    ordering_spec("stitched").kinds            # the rows that it takes

One file of `built_in/` is one kind: its task, its rows, its orderings and what each needs to know of itself (names,
codes, colours, published settings, what a control controls). Nothing else spells their names, and nothing lists the
files: a new one is found because it is there, and so is an engine, declared by one file of `engines/`. Everything here
is a pure function of texts, identities and seeds.
"""

from megadocs.kinds.engine import EngineSpec, engine_names, engine_spec, engine_specs
from megadocs.kinds.ordering import Contrast, Ordering, OrderingOptions, OrderingSpec, RealPlace, Setting
from megadocs.kinds.own_code import is_own, own_code
from megadocs.kinds.registry import (
    Kind,
    built_in_tasks,
    codes_of,
    find_ordering,
    load_code,
    ordering_names,
    ordering_spec,
    orderings_of_role,
    row_kind,
    row_kind_of_code,
    row_kinds,
    task_key,
    task_kind,
    task_names,
)
from megadocs.kinds.row import REAL, RowKind, Tags, Written
from megadocs.kinds.task import SAMPLE, TaskKind, equal_cuts

__all__ = [
    "REAL",
    "SAMPLE",
    "Contrast",
    "EngineSpec",
    "Kind",
    "Ordering",
    "OrderingOptions",
    "OrderingSpec",
    "RealPlace",
    "RowKind",
    "Setting",
    "Tags",
    "TaskKind",
    "Written",
    "built_in_tasks",
    "codes_of",
    "engine_names",
    "engine_spec",
    "engine_specs",
    "equal_cuts",
    "find_ordering",
    "is_own",
    "load_code",
    "ordering_names",
    "ordering_spec",
    "orderings_of_role",
    "own_code",
    "row_kind",
    "row_kind_of_code",
    "row_kinds",
    "task_key",
    "task_kind",
    "task_names",
]
