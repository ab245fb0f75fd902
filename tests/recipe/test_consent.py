"""Consent: every field of a recipe is classified, and no power of a recipe file is used without the person's word."""

import pytest

from field_classes import FIELDS
from megadocs.errors import ConsentError, RecipeError
from megadocs.recipe import Recipe, load_recipe
from megadocs.recipe.consent import (
    REFUSED_OPTIONS,
    SERVER_OPTIONS,
    check_consent,
    key_for,
    personal_file,
    why_no_key,
)
from megadocs.recipe.generation import TaskConfig
from megadocs.recipe.validation import models_in

HEAD = """
name: foreign
corpus: {source: texts/}
arms: {real_only: {}, simple: {stream.ordering: simple, mixture.synthetic_fraction: 0.5}}
"""
REMOTE = "https://elsewhere.example/v1"


@pytest.fixture(autouse=True)
def _a_person_without_a_file(tmp_path, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEGADOCS_CONSENT", str(tmp_path / "consent.yaml"))


@pytest.fixture
def recipe(tmp_path):
    """Writes a foreign recipe with this engine and these lines."""

    def write(engine="kind: fake", more=""):
        path = tmp_path / "recipe.yaml"
        text = f"{HEAD}generate:\n  engine: {{{engine}}}\n  rephrase: {{num_generations: 1}}\n{more}"
        path.write_text(text)
        return path

    return write


def say(tmp_path, text):
    (tmp_path / "consent.yaml").write_text(text)


def allowed(path, overrides=()):
    """The recipe, when the person may run it as it is."""
    loaded = load_recipe(path, overrides)
    check_consent(loaded)
    return loaded


def test_every_field_of_a_recipe_is_classified():
    """A new field stands in `field_classes.py` before it stands in a recipe: what could it do for a stranger?"""
    found: dict[str, set[str]] = {}

    def walk(model):
        if model.__name__ not in found:
            found[model.__name__] = set(model.model_fields)
            for field in model.model_fields.values():
                for below in models_in(field.annotation):
                    walk(below)

    walk(Recipe)
    walk(TaskConfig)  # of the sections of `generate` that further task kinds have
    classified = {section: set(fields) for section, fields in FIELDS.items()}
    assert found == classified


def test_fields_that_hold_an_address_a_program_or_a_module_are_no_plain_ones():
    powers = {
        f"{section}.{name}" for section, fields in FIELDS.items() for name, what in fields.items() if what != "plain"
    }
    wanted = {"EngineConfig.command", "EngineConfig.base_url", "GenerateConfig.allow_remote", "StreamConfig.ordering"}
    assert wanted <= powers
    words = ("source", "url", "command", "path", "address", "init_from", "trackers", "ordering", "remote", "port")
    suspicious = {
        f"{section}.{name}"
        for section, fields in FIELDS.items()
        for name in fields
        if any(word in name for word in words)
    }
    reviewed = {"GatesConfig.max_source_overlap", "StreamConfig.reorder_rows"}
    assert suspicious - powers - reviewed == set()


ASKS = [
    ("kind: vllm, model: x, command: [sh, -c, 'touch pwned']", "", "start the program 'sh -c touch pwned'"),
    ("kind: vllm, model: x", "", "start the program 'vllm'"),
    (f"kind: openai, model: x, base_url: '{REMOTE}'", "  allow_remote: true\n", "elsewhere.example"),
    (f"kind: openai, model: x, base_url: '{REMOTE}'", "", "elsewhere.example"),
    ("kind: openai, model: x, base_url: 'http://10.0.0.2:80/v1'", "  allow_remote: 1\n", "10.0.0.2"),
    ("kind: openai, model: x, base_url: 'http://localhost.evil.example/v1'", "  allow_remote: yes\n", "evil"),
    (f"kind: openai, model: x, base_url: '{REMOTE.upper().replace('HTTPS', 'https')}'", "", "ELSEWHERE"),
    ("kind: openai, model: x, base_url: 'http://2130706433/v1'", "", "2130706433"),
    ("kind: fake", "train: {trackers: [wandb]}\n", "send metrics to wandb"),
    ("kind: fake", "train: {trackers: [trackio]}\n", "send metrics to trackio"),
]


@pytest.mark.parametrize(("engine", "more", "what"), ASKS)
def test_a_power_in_a_recipe_file_is_refused_before_anything_starts(recipe, engine, more, what):
    with pytest.raises(ConsentError) as caught:
        allowed(recipe(engine, more))
    assert what in caught.value.what
    assert "command line" in caught.value.remedy
    load_recipe(recipe(engine, more))  # looking at it needs no consent


def test_an_arm_asks_like_the_recipe(recipe):
    path = recipe(more="seeds: [0]\n")
    path.write_text(path.read_text().replace("real_only: {}", "real_only: {train.trackers: [wandb]}"))
    with pytest.raises(ConsentError, match="wandb"):
        allowed(path)
    assert allowed(path, ["train.trackers=[wandb]"])


def test_what_a_base_recipe_asks_for_is_no_ones_word_either(recipe, tmp_path):
    recipe("kind: vllm, model: x, command: [sh]")
    child = tmp_path / "child.yaml"
    child.write_text("extends: recipe.yaml\nname: child\n")
    with pytest.raises(ConsentError, match="sh"):
        allowed(child)


@pytest.mark.parametrize(
    ("engine", "more", "overrides"),
    [
        ("kind: vllm, model: x, command: [sh]", "", ["generate.engine.command=[/path/to/vllm]"]),
        ("kind: vllm, model: x", "", ["generate.engine.kind=vllm"]),
        ("kind: fake", "", ["generate.engine={kind: vllm, model: x, command: [vllm]}"]),
        (f"kind: openai, model: x, base_url: '{REMOTE}'", "", ["generate.allow_remote=true"]),
        ("kind: fake", "train: {trackers: [wandb]}\n", ["train.trackers=[wandb]"]),
        (
            "kind: vllm, model: x, options: {otlp: 1}",
            "",
            ["generate.engine.kind=vllm", "generate.engine.options.otlp=1"],
        ),
    ],
)
def test_the_command_line_is_the_persons_word(recipe, engine, more, overrides):
    assert allowed(recipe(engine, more), overrides)


@pytest.mark.parametrize(
    ("engine", "overrides"),
    [
        ("kind: vllm, model: x, command: [sh]", ["generate.engine.kind=vllm"]),  # which program, the recipe still says
        ("kind: vllm, model: x, command: [sh]", ["generate.engine.model=y"]),
        (f"kind: openai, model: x, base_url: '{REMOTE}'", ["generate.allow_remote=false"]),
        (f"kind: openai, model: x, base_url: '{REMOTE}'", ["generate.engine.model=y"]),
        ("kind: vllm, model: x, options: {otlp: 1}", ["generate.engine.kind=vllm", "generate.engine.options.seed=1"]),
    ],
)
def test_a_word_about_something_else_is_no_consent(recipe, engine, overrides):
    with pytest.raises(ConsentError):
        allowed(recipe(engine), overrides)


@pytest.mark.parametrize(
    ("engine", "more", "file"),
    [
        ("kind: vllm, model: x", "", "programs: [vllm]"),
        ("kind: vllm, model: x, command: [/path/to/vllm]", "", "programs: [/path/to/vllm]"),
        (f"kind: openai, model: x, base_url: '{REMOTE}'", "", f"remote: ['{REMOTE}']"),
        ("kind: fake", "train: {trackers: [wandb]}\n", "trackers: [wandb]"),
    ],
)
def test_the_persons_own_file_is_their_word(recipe, tmp_path, engine, more, file):
    say(tmp_path, file)
    assert allowed(recipe(engine, more))


def test_the_persons_own_file_says_no_more_than_it_says(recipe, tmp_path):
    say(tmp_path, "programs: [sh]\nremote: ['https://elsewhere.example:444/v1']\n")
    with pytest.raises(ConsentError):  # a shell may be started, not with words of the recipe's
        allowed(recipe("kind: vllm, model: x, command: [sh, -c, 'touch pwned']"))
    with pytest.raises(ConsentError):  # another port is another server
        allowed(recipe(f"kind: openai, model: x, base_url: '{REMOTE}'"))
    say(tmp_path, "programms: [sh]\n")
    with pytest.raises(RecipeError, match="programms") as caught:
        load_recipe(recipe())
    assert caught.value.where == str(personal_file())


@pytest.mark.parametrize(
    "address", ["elsewhere.example", "https://u:p@elsewhere.example", "https://a:99999", "http://["]
)
def test_what_is_no_address_is_refused_wherever_it_stands(recipe, tmp_path, monkeypatch, address):
    with pytest.raises(RecipeError, match="not a server address") as caught:
        load_recipe(recipe(f"kind: openai, model: x, base_url: '{address}'"))
    assert caught.value.where.endswith("generate.engine.base_url")
    for file in (f"remote: ['{address}']", f"keys: {{'{address}': KEY}}"):
        say(tmp_path, file)
        with pytest.raises(RecipeError, match="not a server address") as caught:
            load_recipe(recipe())
        assert caught.value.where == str(personal_file())
    say(tmp_path, "")
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    assert load_recipe(recipe())  # an engine that asks no server
    with pytest.raises(RecipeError, match="not a server address") as caught:
        load_recipe(recipe("kind: openai, model: x"))
    assert caught.value.where == "OPENAI_BASE_URL"
    assert "u:p" not in str(caught.value)


def test_consent_in_a_recipe_file_counts_for_nothing(recipe):
    path = recipe("kind: fake", "  allow_remote: true\n")
    assert allowed(path).generate.allow_remote is False
    assert allowed(path, ["generate.allow_remote=true"]).generate.allow_remote is True


LISTENING = ["host", "port", "uds", "ssl_keyfile", "root_path", "master_port", "data_parallel_address", "h", "po"]
TRUSTING = ["trust_remote_code", "trust-remote-code", "TRUST_REMOTE_CODE", "tru", "api_key", "api", "allowed_origins"]
ODD = ["middleware", "config", "allow_credentials", "x=1 --host", "host=0.0.0.0", "-host", "", "é"]


@pytest.mark.parametrize("name", [*LISTENING, *TRUSTING, *ODD])
def test_options_that_listen_or_trust_are_refused_by_name_whoever_sets_them(recipe, name):
    engine = f"kind: vllm, model: x, options: {{{name!r}: 1}}"
    with pytest.raises(RecipeError, match="is refused"):
        load_recipe(recipe(engine))
    with pytest.raises(RecipeError, match="is refused"):
        load_recipe(recipe(), [f"generate.engine={{kind: vllm, model: x, options: {{{name!r}: 1}}}}"])


@pytest.mark.parametrize("field", ["model", "revision"])
def test_a_name_is_no_option(recipe, field):
    with pytest.raises(RecipeError, match="is no"):
        load_recipe(recipe(), ["generate.engine.kind=vllm", f"generate.engine.{field}=--trust-remote-code"])


def test_harmless_options_need_no_word(recipe):
    options = ", ".join(f"{name}: 1" for name in sorted(SERVER_OPTIONS))
    allowed(recipe(f"kind: vllm, model: x, options: {{{options}}}"), ["generate.engine.kind=vllm"])
    assert not any(name.startswith(word) for name in SERVER_OPTIONS for word in REFUSED_OPTIONS)


def test_keys_go_to_the_server_they_were_given_for_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert key_for("https://api.openai.com/v1") == "sk-secret"
    others = [REMOTE, "http://api.openai.com/v1", "https://api.openai.com:444/v1", "http://127.0.0.1:8000/v1"]
    others += ["https://api.openai.com.evil.example/v1", "https://api.openai.com@evil.example/v1"]
    for other in others:
        assert key_for(other) is None
        assert "OPENAI_BASE_URL" in why_no_key(other)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    assert key_for("http://127.0.0.1:8000/other") == "sk-secret"
    assert key_for("https://api.openai.com/v1") is None
    monkeypatch.setenv("ELSEWHERE_KEY", "other")
    say(tmp_path, f"keys: {{'{REMOTE}': ELSEWHERE_KEY}}")
    assert key_for(REMOTE) == "other"
    assert why_no_key(REMOTE) is None
