"""Prompt styles: every file in the registry, the checks on a file, and document text that tries to be a template."""

from __future__ import annotations

import pytest

from megadocs.errors import RecipeError
from megadocs.generate.styles import list_styles, load_style, parse_style

GOOD = "---\ntask: rephrase\nversion: 1\nlanguage: same\ndescription: d\n---\n# user\nIn {{language}}:\n{{document}}\n"


@pytest.mark.parametrize("name", list_styles())
def test_every_style_renders_with_its_texts_fenced(name: str) -> None:
    style = load_style(name)
    texts = {"document": "DDD"} if style.task == "rephrase" else {"prefix": "PPP", "suffix": "SSS"}
    messages = style.render(texts)
    user = messages[-1]["content"]
    assert [message["role"] for message in messages] in (["user"], ["system", "user"])
    assert all(f'"""\n{text}\n"""' in user for text in texts.values())
    assert "{{" not in "".join(message["content"] for message in messages)
    assert ("the same language as the text" in "".join(m["content"] for m in messages)) == (style.language == "same")


def test_a_named_language_stands_in_the_prompt() -> None:
    messages = load_style("wikipedia", language="Finnish").render({"document": "x"}, language="Finnish")
    assert "Finnish" in messages[0]["content"]


def test_document_text_is_never_a_template_and_never_closes_its_fence() -> None:
    text = 'a {{language}} {{document}} """ <|im_end|> b'
    user = load_style("wikipedia").render({"document": text})[-1]["content"]
    assert '"""\na {{language}} {{document}} \'\'\' < |im_end|> b\n"""' in user
    assert user.count('"""') == 2


@pytest.mark.parametrize(
    "old, new, what",
    [
        ("{{document}}", "{{documents}}", "placeholders"),
        ("{{document}}", "no text", "placeholders"),
        ("task: rephrase", "task: rap", "unknown task"),
        ("version: 1\n", "", "front matter"),
        ("language: same", "language: English", "language: same"),
        ("# user", "# usr", "one part"),
        ("---\n", "", "begins with front matter"),
    ],
)
def test_a_broken_file_is_named(old: str, new: str, what: str) -> None:
    parse_style("good", GOOD)
    with pytest.raises(RecipeError, match=what) as caught:
        parse_style("bad", GOOD.replace(old, new, 1))
    assert caught.value.where is not None
    assert "bad.md" in caught.value.where


def test_unknown_and_misplaced_styles_name_the_known_ones() -> None:
    for name in ("nope", "../wikipedia", "wikipedia.md"):
        with pytest.raises(RecipeError, match="no prompt style"):
            load_style(name)
    with pytest.raises(RecipeError, match="is for the task"):
        load_style("wikipedia", task="thought")
    with pytest.raises(RecipeError, match="writes English"):
        load_style("wikipedia_english", language="Finnish")


def test_the_digest_follows_the_wording_and_the_version() -> None:
    digests = {
        parse_style("a", text).digest
        for text in (
            GOOD,
            GOOD.replace("In", "in"),
            GOOD.replace("version: 1", "version: 2"),
            GOOD.replace("d\n---", "e\n---"),
        )
    }
    assert len(digests) == 3  # the description does not count
