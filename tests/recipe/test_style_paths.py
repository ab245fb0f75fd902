"""Paths of prompt styles: relative to the file that names them, absolute in the recipe."""

from __future__ import annotations

from pathlib import Path

from megadocs.recipe import load_recipe
from megadocs.recipe.style_paths import is_style_path, with_absolute_styles

BASE = """
name: base
corpus: {source: texts}
generate:
  rephrase: {style: letter.md, diverse_styles: [a/b.md, dialogue]}
"""


def test_what_is_a_path() -> None:
    assert is_style_path("my/prompt") and is_style_path("prompt.md")
    assert not is_style_path("wikipedia")


def test_paths_begin_at_the_file_that_says_them(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "base.yaml").write_text(BASE)
    top = tmp_path / "top.yaml"
    top.write_text("extends: below/base.yaml\nname: top\ngenerate: {thought: {style: ./thinking.md}}\n")
    recipe = load_recipe(top)
    assert recipe.generate.rephrase is not None and recipe.generate.thought is not None
    assert recipe.generate.rephrase.style == str(tmp_path / "below" / "letter.md")
    assert recipe.generate.rephrase.diverse_styles == [str(tmp_path / "below" / "a" / "b.md"), "dialogue"]
    assert recipe.generate.thought.style == str(tmp_path / "thinking.md")
    monkeypatch.chdir(tmp_path / "below")
    other = load_recipe(top, ["generate.rephrase.style=letter.md", "generate.rephrase.diverse_styles=[]"])
    assert other.generate.task("rephrase").styles == (str(tmp_path / "below" / "letter.md"),)


def test_what_has_not_the_form_is_left_alone(tmp_path: Path) -> None:
    for data in ({"generate": 3}, {"generate": {"rephrase": 3}}, {"generate": {"rephrase": {"style": 3}}}, {}):
        assert with_absolute_styles(data, tmp_path) == data
