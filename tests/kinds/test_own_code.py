"""A user's own kinds, orderings and engines: by consent only, known by their source, refused where they lose rows."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from kinds.toy import Toy, run_toy
from megadocs.errors import ConsentError, RecipeError
from megadocs.generate.engines import build_engine, engine_identity, sampling_options
from megadocs.kinds import OrderingOptions, codes_of, engine_spec, find_ordering, load_code, row_kind, task_kind
from megadocs.pipeline.steps.sources import open_experiment
from megadocs.pipeline.steps.step import Step
from megadocs.recipe import EngineConfig, GenerateConfig, MixtureConfig, StreamConfig
from megadocs.store.artifact import Workspace
from megadocs.streams import build_streams
from streams.helpers import make_table

DOCS = Path(__file__).parents[2] / "docs"

ORDERS = """
import numpy as np
def backwards(table, rows, *, seed, epoch, options):
    return rows[::-1]
def losing(table, rows, *, seed, epoch, options):
    return rows[1:]
def doubling(table, rows, *, seed, epoch, options):
    return np.concatenate([rows[:1], rows[:-1]])
def later(table, rows, *, seed, epoch, options):
    return rows if epoch == 0 else rows[1:]
def twice(table, rows, *, seed, epoch, options):
    return np.repeat(rows, 2)
def swapping(table, rows, *, seed, epoch, options):
    return np.repeat(rows, 2) if epoch == 0 else np.repeat(rows, 3)
backwards.kinds = losing.kinds = doubling.kinds = later.kinds = twice.kinds = swapping.kinds = ("real",)
twice.repeats = swapping.repeats = True
text = "text"
"""

KINDS = """
from megadocs.kinds import Kind, OrderingSpec, RowKind, TaskKind
from megadocs.kinds.orders import stitched
def show(text, cut):
    return {"document": text}
def text_of(document, written, tags):
    return "Haiku: " + written[0].text
HAIKU = Kind(
    task=TaskKind("haiku", frozenset({"document"}), show, style="haiku", max_new_tokens=40),
    rows=(RowKind("haiku", 200, text_of, task="haiku"),),
    orderings=(OrderingSpec("haikus", stitched, ("haiku",), adds_real=True),),
)
BUILT_IN_CODE = Kind(rows=(RowKind("sonnet", 9, text_of, task="haiku"),))
"""

STYLE = """---
task: haiku
version: 1
language: same
description: Three lines.
---
# user
Write a haiku about this text, in {{language}}.

{{document}}
"""

ENGINE = """
from megadocs.generate.engines.fake import InProcessFakeEngine
class Parrot(InProcessFakeEngine):
    pass
number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules on the path; what they registered is forgotten afterwards."""
    from megadocs.kinds import own_code as _  # noqa: F401
    from megadocs.kinds.own_code import _loaded
    from megadocs.kinds.registry import _known

    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path
    import sys

    for name in list(_loaded):
        sys.modules.pop(name.partition(":")[0], None)
        _known().remove(name)
        del _loaded[name]


def write(folder: Path, module: str, source: str) -> None:
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    importlib.invalidate_caches()


def custom(name: str, **options: str):
    table, tokens = make_table([(name, "real", 0, 4) for name in "abcd"])
    return build_streams(
        table,
        tokens,
        stream=StreamConfig(ordering=name, **options),
        mixture=MixtureConfig(synthetic_fraction="1"),
        context_length=4,
        seed=0,
        real_documents=list("abcd"),
    )


def test_nothing_is_loaded_unless_somebody_allows_it(folder: Path) -> None:
    write(folder, "my_orders", ORDERS + "\n(__import__('pathlib').Path(__file__).parent / 'ran').touch()\n")
    for look_up in (lambda: custom("my_orders:backwards"), lambda: load_code(["my_orders:backwards"], allow=False)):
        with pytest.raises(RecipeError, match="runs code of its own") as refused:
            look_up()
        assert "--allow-code" in str(refused.value)
    assert not (folder / "ran").exists()
    assert set(load_code(["my_orders:backwards"], allow=True)) == {"my_orders:backwards"}
    assert (folder / "ran").exists()
    (stream,) = custom("my_orders:backwards")
    assert stream.order(0).tolist() == [3, 2, 1, 0]


def test_what_cannot_be_loaded_is_said(folder: Path) -> None:
    write(folder, "my_orders", ORDERS)
    write(folder, "broken", "raise KeyError('no')\n")
    for name, message in (
        ("my_orders:none", "AttributeError"),
        ("no_such_module:order", "no source file"),
        ("sys:exit", "no source file"),
        ("broken:order", "KeyError: 'no'"),
    ):
        with pytest.raises(RecipeError, match=message):
            load_code([name], allow=True)
    load_code(["my_orders:text"], allow=True)
    with pytest.raises(RecipeError, match="not callable"):
        find_ordering("my_orders:text")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("losing", "returns 3 rows of the 4 that it was given: 1 are lost, 0 stand there more than once"),
        ("doubling", "returns 4 rows of the 4 that it was given: 1 are lost, 1 stand there more than once"),
    ],
)
def test_an_ordering_that_loses_or_doubles_rows_is_refused(folder: Path, name: str, message: str) -> None:
    write(folder, "my_orders", ORDERS)
    load_code([f"my_orders:{name}"], allow=True)
    with pytest.raises(RecipeError, match=message):
        custom(f"my_orders:{name}")


def test_later_epochs_are_checked_and_repeats_can_be_declared(folder: Path) -> None:
    write(folder, "my_orders", ORDERS)
    load_code([f"my_orders:{name}" for name in ("later", "twice", "swapping")], allow=True)
    (stream,) = custom("my_orders:twice", reorder_rows="each_epoch")
    assert sorted(stream.order(1).tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    (stream,) = custom("my_orders:later", reorder_rows="each_epoch")
    with pytest.raises(RecipeError, match="returns 3 rows of the 4"):
        stream.order(1)
    (stream,) = custom("my_orders:swapping", reorder_rows="each_epoch")
    with pytest.raises(RecipeError, match="other rows in epoch 1 than in epoch 0"):
        stream.order(1)


def test_an_edited_module_has_another_digest_and_is_loaded_again(folder: Path) -> None:
    write(folder, "my_orders", ORDERS)
    first = load_code(["my_orders:backwards"], allow=True)
    assert load_code(["my_orders:backwards"], allow=True) == first
    assert codes_of(ordering="my_orders:backwards") == first
    write(folder, "my_orders", ORDERS.replace("rows[::-1]", "np.roll(rows, 1)"))
    assert load_code(["my_orders:backwards"], allow=True) != first
    (stream,) = custom("my_orders:backwards")
    assert stream.order(0).tolist() == [3, 0, 1, 2]


def test_a_kind_of_ones_own_runs_as_a_built_in_one_does(folder: Path) -> None:
    write(folder, "my_kinds", KINDS)
    (folder / "haiku.md").write_text(STYLE, encoding="utf-8")
    load_code(["my_kinds:HAIKU"], allow=True)
    generate = {"my_kinds:HAIKU": {"num_generations": 2, "style": "haiku.md"}}
    toy = run_toy(folder, generate, {"haikus": {"stream.ordering": "my_kinds:HAIKU"}}, stage="train")
    texts = toy.texts("haiku")
    assert set(texts) == {(name, generation) for name in toy.documents for generation in (0, 1)}
    assert all(text.startswith("Haiku: ") for text in texts.values())
    before = steps_of_haiku(toy)
    assert all(step.settings["code"] == codes_of(task="haiku") for step in before)
    assert steps_of_haiku(toy)[0].fingerprint == before[0].fingerprint

    write(folder, "my_kinds", KINDS.replace("Haiku: ", "A haiku: "))
    after = steps_of_haiku(toy)
    assert not {step.fingerprint for step in before} & {step.fingerprint for step in after}


def steps_of_haiku(toy: Toy) -> list[Step]:
    """The train, rows and generate steps that the recipe asks for now."""
    experiment, _ = open_experiment(toy.recipe, Workspace(toy.root), allow_code=True)
    assert experiment is not None
    (run,) = experiment.runs
    (rows,) = [step for step in run.train.inputs.values() if step.config.get("kind") == "haiku"]
    return [run.train, rows, rows.inputs["generations"]]


def test_the_examples_of_the_docs_run(folder: Path) -> None:
    for page, name in (("kinds", "my_kinds"), ("streams", "my_orders")):
        text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
        code = text[text.index(f"# {name}.py") :]
        write(folder, name, code[: code.index("```")])
    load_code(["my_kinds:HAIKU", "my_orders:longest_first"], allow=True)
    assert task_kind("haiku").place(None, 3) == ""
    spec = find_ordering("my_orders:longest_first")
    table, _ = make_table([("a", "real", 0, 4), ("b", "real", 0, 9), ("c", "rephrase", 0, 6), ("d", "real", 0, 6)])
    order = spec.order(table, np.arange(4), seed=0, epoch=0, options=OrderingOptions()).tolist()
    assert order[0] == 1 and order[-1] == 0 and spec.kinds == ("rephrase", "real")


def test_a_run_is_refused_before_it_makes_anything(folder: Path) -> None:
    write(folder, "my_kinds", KINDS)
    (folder / "haiku.md").write_text(STYLE, encoding="utf-8")
    with pytest.raises(ConsentError, match="runs code of its own"):
        run_toy(folder, {"my_kinds:HAIKU": {"style": "haiku.md"}}, {"haikus": {"stream.ordering": "my_kinds:HAIKU"}})
    assert not list((folder / "ws").glob("corpus/*/record.json"))


def test_codes_of_built_in_kinds_are_not_given_away(folder: Path) -> None:
    write(folder, "my_kinds", KINDS)
    with pytest.raises(RecipeError, match="codes below 128 are for built-in kinds"):
        load_code(["my_kinds:BUILT_IN_CODE"], allow=True)


def test_a_section_of_a_kind_that_nobody_loaded_asks_for_consent() -> None:
    config = GenerateConfig.model_validate({"nowhere:KIND": {"num_generations": 3}})
    assert config.own_kinds == ["nowhere:KIND"]
    assert config.tasks == []


def test_an_engine_of_ones_own_is_known_by_its_source(folder: Path) -> None:
    write(folder, "my_engine", ENGINE)
    config = EngineConfig(kind="my_engine:Parrot", model="parrot")
    with pytest.raises(RecipeError, match="runs code of its own"):
        build_engine(config)
    digests = load_code(["my_engine:Parrot", "my_engine:number"], allow=True)
    assert type(build_engine(config)).__name__ == "Parrot"
    code = {"my_engine:Parrot": digests["my_engine:Parrot"]}
    assert engine_identity(config) == {"model": "parrot", "revision": None, "code": code}
    with pytest.raises(RecipeError, match="not callable"):
        build_engine(EngineConfig(kind="my_engine:number"))
    with pytest.raises(ValueError, match="or module:attribute"):
        EngineConfig(kind="llamacp")


def test_an_engine_of_ones_own_may_declare_options_identity_and_price(folder: Path) -> None:
    declared = """
from megadocs.errors import RecipeError
from megadocs.kinds import EngineSpec

def checked(config):
    for name in set(config.options) - {"latency_seconds"}:
        raise RecipeError(f"unknown option {name!r}")
    return dict(config.options)

SPEC = EngineSpec("parrot", lambda config, log_dir: Parrot(config), works_by="rule", options=checked,
                  identity=lambda config: {"model": "parrot 2"}, new_tokens_per_second=7.0)
"""
    write(folder, "declared_engine", ENGINE + declared)
    config = EngineConfig(kind="declared_engine:SPEC", model="parrot", options={"latency_seconds": 0})
    digests = load_code(["declared_engine:SPEC"], allow=True)
    assert type(build_engine(config)).__name__ == "Parrot"
    assert engine_identity(config) == {"model": "parrot 2", "code": digests}
    assert sampling_options(config) == {"latency_seconds": 0}
    assert engine_spec(config.kind).new_tokens_per_second == 7.0
    with pytest.raises(RecipeError, match="unknown option 'pitch'"):
        build_engine(config.model_copy(update={"options": {"pitch": 3}}))


def test_every_built_in_ordering_keeps_its_rows_or_says_so() -> None:
    from megadocs.kinds import ordering_names, ordering_spec

    for name in ordering_names():
        spec = ordering_spec(name)
        rows = [(doc, kind, 2 if row_kind(kind).is_stretched else 0, 4) for doc in "abc" for kind in spec.rows("last")]
        table, _ = make_table(rows)
        given = np.arange(len(table))
        order = spec.order(table, given, seed=3, epoch=1, options=OrderingOptions(num_generations=2))
        assert np.array_equal(np.sort(order), given) != spec.repeats
        assert all(task_kind(task) for task in {row_kind(kind).task for kind in spec.kinds} - {None, "sample"})
