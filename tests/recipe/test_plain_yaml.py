"""YAML of strangers: JSON's values for plain data, and nothing that is twice, endless or no data."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megadocs.errors import RecipeError
from megadocs.recipe import load_recipe
from megadocs.recipe.plain_yaml import MAX_RECIPE_BYTES, MAX_VALUES, parse_yaml, read_yaml_file

TEXTS = st.text(st.characters(max_codepoint=0xD7FF), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
@settings(deadline=None)
def test_json_is_read_as_json(value):
    assert parse_yaml(json.dumps(value), where="test") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-2", 0.05),
        ("1e9", 1e9),
        ("-1E+3", -1000.0),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("-.inf", float("-inf")),
    ],
)
def test_numbers_are_numbers_without_a_dot_too(text, value):
    found = parse_yaml(f"min_p: {text}", where="test")["min_p"]
    assert (found, type(found)) == (value, float)


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("-7", -7), ("+7", 7), ("0x12c", 300), ("0o454", 300), ("9" * 30, int("9" * 30))]
)
def test_whole_numbers_are_those_of_yaml_1_2(text, value):
    found = parse_yaml(text, where="test")
    assert (found, type(found)) == (value, int)


@pytest.mark.parametrize(
    "text",
    [
        "e5",
        "1e",
        "5e-",
        "v1e5",
        "2001-01-02",
        "0x1g",
        "1:30:e",
        "+",
        ".",
        "0454",
        "5:00",
        "0b11",
        "3_00",
        "0x" + "f" * 20,
    ],
)
def test_texts_stay_texts(text):
    assert parse_yaml(text, where="test") == text


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("train: {real_epochs: 1}\nseeds: [0]\ntrain: {batch_size: 2}\n", (1, 3)),
        ("arms:\n  simple: {}\n  real_only: {}\n  simple: {train.batch_size: 2}\n", (2, 4)),
        ("arms: {a: {x.y: 1,\n x.y: 2}}", (1, 2)),
        ("a: 1\n'a': 2\n", (1, 2)),
        ("- {b: 1, b: 1}", (1, 1)),
    ],
)
def test_a_key_that_stands_twice_is_named_with_both_lines(text, lines):
    with pytest.raises(RecipeError, match=f"stands twice: lines {lines[0]} and {lines[1]}"):
        parse_yaml(text, where="test")


@pytest.mark.parametrize("key", ["5", "1.5", ".nan", "~", "yes", "No", "on", "[a, b]", "{a: 1}", "&k [a]"])
def test_a_key_that_is_no_text_is_named(key):
    """An arm called `no` or `5` is false or a number to YAML: quoted it is the text."""
    with pytest.raises(RecipeError, match=r"in line 2 is no text: write it in quotes"):
        parse_yaml(f"a: 1\n? {key}\n: {{}}\n", where="test")
    if key[0] not in "[{&":
        assert parse_yaml(f"'{key}': 1", where="test") == {key: 1}


@pytest.mark.parametrize(
    "text", ["!!str 5", "!!int '2'", "!!bool x", "!!float nan", "!!map {}", "! x", "!own {a: 1}", "!!null ''"]
)
def test_a_tag_is_refused_whatever_it_says(text):
    for written in (text, f"[{text}]", f"a: {text}"):
        with pytest.raises(RecipeError, match="is a tag, and recipes have none"):
            parse_yaml(written, where="test")


@pytest.mark.parametrize("text", ['"\\ud800"', '"a\\udfff"', '{"\\ud83d": 1}', '[a, "\\ud800"]'])
def test_half_of_a_surrogate_pair_is_refused(text):
    with pytest.raises(RecipeError, match="line 1: half of a surrogate pair"):
        parse_yaml(text, where="test")


def test_merge_keys_may_be_overridden():
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n", where="test")["b"] == {"x": 1, "y": 3}


def laughs(levels=9, width=10):
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels + 1)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        laughs(),
        "a: &a {x: 1}\n" + "\n".join(f"k{n}: {{<<: [{', '.join(['*a'] * 100)}]}}" for n in range(1000)),
        "a: &a [*a]",
        "a: *b",
        "[" * 5000,
        "{a: " * 5000,
        "- " * 5000 + "a",
        "\n".join(f"k{n}: 1" for n in range(MAX_VALUES)),
        "a: " + "9" * 5000,
        "a: 2001-99-99T99:99:99Z\nb: [",
        "a: !!python/object/apply:os.system ['true']",
        "a: !!binary aGk=",
        "a: !!set {b}",
        "a: !!timestamp 2001-01-01",
        "? [a]\n: b",
        "a: \x00",
        "--- a\n--- b\n",
        "%YAML 9.9\n---\na: 1",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_plain_data_or_has_no_end_is_refused_at_once(text):
    began = time.process_time()
    with pytest.raises(RecipeError):
        parse_yaml(text, where="test")
    assert time.process_time() - began < 20  # seconds; the laughs alone would be a billion values


def test_files_are_read_to_the_bound_only(tmp_path):
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate(50 * 2**30)  # a sparse file of 50 GB
    for path in (large, tmp_path, "/dev/zero"):
        with pytest.raises(RecipeError):
            load_recipe(path)
    small = tmp_path / "small.yaml"
    small.write_text("a: 1 #" + "x" * (MAX_RECIPE_BYTES - 6))
    assert read_yaml_file(small) == {"a": 1}


@pytest.mark.parametrize(
    "base", ["/etc/passwd", "../up.yaml", "/dev/zero", "a/../../up.yaml", "[up.yaml]", "5", "notes.txt"]
)
def test_extends_names_a_recipe_in_the_folder(tmp_path, base):
    (tmp_path / "notes.txt").write_text("a secret: [")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"extends: {base}\nname: a\n")
    with pytest.raises(RecipeError, match="extends names"):
        load_recipe(recipe)


def test_overrides_are_read_by_the_same_rules(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: a\ncorpus: {source: texts/}\n")
    loaded = load_recipe(recipe, ["generate.engine.options={min_p: 5e-2}", "train.learning_rate=1e-2"])
    assert loaded.generate.engine.options == {"min_p": 0.05}
    with pytest.raises(RecipeError, match="twice"):
        load_recipe(recipe, ["arms={a: {}, a: {}}"])
