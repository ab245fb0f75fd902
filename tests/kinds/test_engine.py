"""Engines as declarations: one file each, and nothing else names them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import megadocs
from megadocs.errors import RecipeError
from megadocs.generate.engines import build_engine, engine_info
from megadocs.kinds import engine_names, engine_spec, engine_specs
from megadocs.kinds.engine import resolve
from megadocs.recipe import EngineConfig

SOURCE = Path(megadocs.__file__).parent
#: Files that are an engine, or its server.
OF_ENGINES = ("kinds/engines", "generate/engines")


def test_every_file_declares_the_engine_that_it_is_named_after() -> None:
    files = {path.stem for path in (SOURCE / "kinds/engines").glob("*.py")} - {"__init__"}
    assert files == set(engine_names())


@pytest.mark.parametrize("spec", engine_specs(), ids=lambda spec: spec.name)
def test_every_function_that_is_named_exists(spec) -> None:
    for hook in (spec.make, spec.options, spec.identity, spec.info, spec.prompt_tokens):
        assert hook is None or callable(resolve(hook))


def test_no_other_file_compares_with_an_engines_name() -> None:
    named = re.compile(rf'(kind|KIND)\S* *(==|!=|in) *[\(\{{]?"({"|".join(engine_names())})"')
    found = [
        f"{path.relative_to(SOURCE)}: {line.strip()}"
        for path in SOURCE.rglob("*.py")
        if not path.relative_to(SOURCE).as_posix().startswith(OF_ENGINES)
        for line in path.read_text(encoding="utf-8").splitlines()
        if named.search(line)
    ]
    assert found == []


def test_an_engine_that_is_none_and_one_of_the_pipeline_are_refused() -> None:
    with pytest.raises(RecipeError, match="no engine 'llamacp'"):
        engine_spec("llamacp")
    with pytest.raises(RecipeError, match="no engine 'own' that a recipe may name"):
        build_engine(EngineConfig(kind="own"))


def test_what_is_known_before_anything_starts() -> None:
    info = engine_info(EngineConfig(kind="openai", model="m", base_url="http://127.0.0.1:1/v1", num_servers=2))
    assert (dict(info.identity), info.address, info.concurrency) == (
        {"model": "m", "revision": None}, "http://127.0.0.1:1/v1", 8,
    )  # fmt: skip
    assert engine_info(EngineConfig(kind="fake")).address is None
