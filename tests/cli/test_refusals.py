"""Recipes of strangers on the command line: one message with place and remedy, exit code 2, nothing written.

The texts are those of people who tried: odd YAML, numbers without an end, names of nothing, powers that are not theirs.
"""

from __future__ import annotations

import time

import pytest

from megadocs.recipe import load_recipe

ARM = "  real_only: {}"
TRAIN = "train: {context_length: 64"

#: (text of the recipe to be replaced, what stands there instead, what the message says)
TEXTS = [
    ("seeds: [0]", "seeds: [0]\ntrain: {batch_size: 3}", "the key 'train' stands twice"),
    (ARM, f"{ARM}\n  simple: {{}}", "the key 'simple' stands twice"),
    (ARM, "  no: {}", "the key False in line"),
    (ARM, "  5: {}", "the key 5 in line"),
    (ARM, "  ~: {}", "the key None in line"),
    (ARM, "  ? [a, b]\n  : {}", "the key ['a', 'b'] in line"),
    (ARM, "  réal: {}", "arm name 'réal'"),
    (ARM, '  "a\\nb": {}', "arm name"),
    (ARM, "  ../up: {}", "arm name '../up'"),
    (ARM, "  a: {<<: 3}", "expected a mapping or list of mappings for merging"),
    (ARM, "  a: &a {<<: *a}", "stands for nothing before it, or for itself"),
    (ARM, "  a: {corpus.seed: 1}", "may not override 'corpus.seed'"),
    (ARM, "  a: {stream: 3}", "arms.a: stream"),
    (ARM, "  a: {mixture: [1]}", "arms.a: mixture"),
    ("name: t", "name: !!python/object/apply:os.system ['true']", "is a tag, and recipes have none"),
    ("name: t", "name: !!bool x", "is a tag, and recipes have none"),
    ("name: t", 'name: t\ndescription: "\\ud800"', "half of a surrogate pair"),
    ("name: t", "name: t\0", "special characters are not allowed"),
    ("name: t", "name: no", "name"),
    (TRAIN, f"trаin: {TRAIN[7:]}", "did you mean 'train'?"),
    ("batch_size: 2", "batch_size: yes", "true and false (yes, no, on, off) are no numbers"),
    ("batch_size: 2", "batch_size: 2:00", "valid integer"),
    ("batch_size: 2", "batch_size: 0x" + "f" * 5000, "valid integer"),
    ("batch_size: 2", "batch_size: " + "9" * 5000, "not valid YAML"),
    ("batch_size: 2", "learning_rate: .nan", "finite number"),
    ("batch_size: 2", "learning_rate: 1e999999999", "finite number"),
    ("batch_size: 2", "real_epochs: 1e300", "real_epochs"),
    ("seeds: [0]", "seeds: [yes, no]", "are no numbers"),
    ("synthetic_fraction: 0.5", "synthetic_fraction: 1e-40", "no more than 30 decimal places"),
    ("synthetic_fraction: 0.5", "synthetic_fraction: '1e-999999999'", "no more than 30 decimal places"),
    ("seeds: [0]", "analysis: {num_bootstrap: 1000000000}", "analysis.num_bootstrap"),
    ("seeds: [0]", "analysis: {baseline: reel_only}", "did you mean 'real_only'?"),
    ("seeds: [0]", "ensembles: {e: {arm: simpel, num_members: 2}}", "did you mean 'simple'?"),
    ("seeds: [0]", "evaluate: {stride: 64}", "leaves no token to predict from"),
    ("seeds: [0]", "search: {axes: {train.learning_rate: {values: [-1, 1e-3]}}}", "-1 is no value of"),
    ("seeds: [0]", "search: {axes: {train.batch_size: {values: [1, 2.5]}}}", "2.5 is no value of"),
    ("seeds: [0]", "search: {axes: {train.lerning_rate: {values: [1]}}}", "did you mean 'learning_rate'?"),
    ("model: {", "model: {init_from: x, ", "init_from decides the shape"),
    ("kind: fake,", "kind: openai, base_url: 'https://u:p@a.example',", "not a server address"),
    ("kind: fake,", "kind: openai, base_url: 'http://a.example:99999',", "not a server address"),
    ("kind: fake,", "kind: openai, base_url: 'file:///etc/passwd',", "not a server address"),
    ("kind: fake, model: fake", "kind: vllm, model: --host=0.0.0.0", "is no model"),
    ("kind: fake,", "kind: vllm, options: {host: 0.0.0.0},", "is refused"),
    ("kind: fake,", "kind: vllm, options: {trust-remote-code: true},", "is refused"),
    ("kind: fake,", "kind: 'os:system',", "--allow-code"),
    ("name: t", "extends: /etc/passwd\nname: t", "extends names"),
    ("name: t", "extends: bad.yaml\nname: t", "extends goes one level deep"),
]


@pytest.mark.parametrize(("there", "instead", "words"), TEXTS, ids=lambda text: text[:40])
def test_a_recipe_that_no_one_may_run_is_refused_at_once(megadocs, base, there, instead, words):
    text = base.read_text()
    assert there in text
    recipe = base.with_name("bad.yaml")
    recipe.write_text(text.replace(there, instead), encoding="utf-8")
    began = time.process_time()
    ended = megadocs("plan", recipe, "--workspace", base.parent / "ws")
    assert ended.code == 2, ended.text
    assert words in ended.stderr
    assert "where:" in ended.stderr
    assert "to do:" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (base.parent / "ws").exists()
    assert time.process_time() - began < 20


@pytest.mark.parametrize("content", ["\ufeffTEXT", "TEXT\r\n", "%YAML 1.1\n---\nTEXT", "# a\n\nTEXT...\n"])
def test_other_ways_to_write_the_same_recipe_are_read(megadocs, base, content):
    """A byte order mark, line ends of other systems, directives, an end of the document."""
    text = base.read_text()
    written = content.replace("TEXT", text)
    base.write_bytes((written.replace("\n", "\r\n") if "\r" in content else written).encode())
    ended = megadocs("plan", base, "--workspace", base.parent / "ws")
    assert ended.code == 0, ended.text


def test_numbers_of_free_form_options_are_numbers(base):
    base.write_text(base.read_text().replace("concurrency: 4", "concurrency: 4, options: {broken: 1e-9, x: 5e-2}"))
    assert load_recipe(base).generate.engine.options == {"broken": 1e-9, "x": 0.05}
