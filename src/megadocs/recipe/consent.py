"""Consent: what a recipe may not decide, because it may come from a stranger. The one place that holds the rule.

A recipe is data. Whatever starts a program, names code, sends text or a key off the machine, opens a port or writes
outside the workspace is decided by the person who runs it: on the command line (overrides are the person's), in the
environment, or in a file of the person's own. Every field of a recipe is classified by the repository's tests, and one
that is not fails them. `load_recipe` notes what the file asks for (`apply_consent`); what starts anything calls
`check_consent` first, engines ask `key_for` and `check_options`.

The person's own file, `~/.config/megadocs/consent.yaml` (or the file that MEGADOCS_CONSENT names):

    remote: ["https://api.example.org/v1"]                   # servers that may receive documents
    keys: {"https://api.example.org/v1": EXAMPLE_API_KEY}    # which variable holds the key of which server
    programs: [vllm, /path/to/vllm/bin/vllm]                 # what may be started as generate.engine.command
    trackers: [wandb]                                        # services that may receive metrics

Reading is no power: a recipe names the files and Hugging Face repositories that it reads. What is read leaves the
machine only to a server that the person allowed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from megadocs.errors import ConsentError, RecipeError
from megadocs.kinds import engine_spec
from megadocs.recipe.addresses import REMEDY, is_loopback, is_same_server, server_of
from megadocs.recipe.arms import build_arms
from megadocs.recipe.base import Section
from megadocs.recipe.generation import EngineConfig
from megadocs.recipe.plain_yaml import read_yaml_file
from megadocs.recipe.recipe import Recipe
from megadocs.recipe.wishes import Act, Wish

EVERYTHING: frozenset[Act] = frozenset({"generate", "train"})

#: Options of a server that a recipe may set: how it uses its memory and its processors.
SERVER_OPTIONS = frozenset(
    {
        "async_scheduling",
        "block_size",
        "cpu_offload_gb",
        "dtype",
        "enable_chunked_prefill",
        "enable_prefix_caching",
        "enforce_eager",
        "gpu_memory_utilization",
        "kv_cache_dtype",
        "max_logprobs",
        "max_num_batched_tokens",
        "no_enable_chunked_prefill",
        "no_enable_prefix_caching",
        "num_gpu_blocks_override",
        "pipeline_parallel_size",
        "quantization",
        "seed",
        "swap_space",
        "tensor_parallel_size",
    }
)
#: Options that listen or trust: refused no matter who sets them. A word ends at any letter after it; a server's own
#: command line takes abbreviations, so `trust_remote` is refused as `trust_remote_code` is.
REFUSED_OPTIONS = (
    "host",
    "port",
    "uds",
    "trust_",
    "api_key",
    "ssl_",
    "enable_ssl",
    "allowed_",
    "allow_",
    "root_path",
    "middleware",
    "master_",
    "data_parallel_address",
    "data_parallel_rpc",
    "config",
)
_OPTION_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_FILE_VARIABLE = "MEGADOCS_CONSENT"
_SERVICES = frozenset({"wandb", "trackio"})  # tensorboard writes into the run's own folder


class PersonalConsent(Section):
    """What the person's own file allows."""

    remote: list[str] = Field(default_factory=list, description="Servers that may receive documents.")
    keys: dict[str, str] = Field(default_factory=dict, description="Server -> variable that holds its key.")
    programs: list[str] = Field(default_factory=list, description="Programs that may be started as an engine.")
    trackers: list[str] = Field(default_factory=list, description="Trackers that may receive metrics.")

    @field_validator("remote", "keys")
    @classmethod
    def _addresses(cls, value: Any) -> Any:
        for address in value:
            server_of(address)
        return value


def apply_consent(recipe: Recipe, personal: Sequence[Sequence[str]]) -> Recipe:
    """The recipe with the person's consent in place of its own, and what it asks for beyond that noted in it.

    Args:
        recipe: validated, overrides applied.
        personal: the keys that the overrides of the command line set, each as its parts.

    Raises:
        RecipeError: an option that listens or trusts, an arm that does not validate, OPENAI_BASE_URL or the person's
            own file cannot be read.
    """
    own = PersonalKeys(personal)
    file = read_personal_file()
    engine = recipe.generate.engine
    check_options(engine)
    allow = recipe.generate.allow_remote and own.has("generate", "allow_remote")
    address = engine_address(engine)
    allow = allow or (address is not None and any(is_same_server(address, known) for known in file.remote))
    recipe = recipe.model_copy(
        update={"generate": recipe.generate.model_copy(update={"allow_remote": allow})}, deep=False
    )
    return recipe.with_wishes((*_engine_wishes(recipe, own, file), *_tracker_wishes(recipe, own, file)))


def check_consent(recipe: Recipe, acts: Collection[Act] = EVERYTHING) -> None:
    """Refuse what the recipe's file asks for and the person did not allow; asked before anything is started.

    Raises:
        ConsentError: names the key, what it would do, and how the person allows it.
    """
    for wish in recipe.wishes:
        if wish.act in acts:
            raise ConsentError(
                f"the recipe asks to {wish.what}; that is yours to allow, not the recipe's",
                where=wish.key,
                remedy=wish.remedy,
            )


class PersonalKeys:
    """The keys that the command line set."""

    def __init__(self, keys: Sequence[Sequence[str]]) -> None:
        self._keys = [".".join(key) for key in keys]

    def has(self, *parts: str) -> bool:
        """Whether an override set this key, or a section that holds it."""
        dotted = ".".join(parts)
        return any(dotted == key or dotted.startswith(f"{key}.") for key in self._keys)


def _engine_wishes(recipe: Recipe, own: PersonalKeys, file: PersonalConsent) -> Iterator[Wish]:
    """What the engine of a recipe that generates text would do beyond this process and its models."""
    generate, engine = recipe.generate, recipe.generate.engine
    if not generate.tasks:
        return
    section = ("generate", "engine")
    if engine_spec(engine.kind).works_by == "program":
        program = engine.command[0] if engine.command else "vllm"
        named = own.has(*section, "command") or (not engine.command and own.has(*section, "kind"))
        if not named and not (program in file.programs and len(engine.command) <= 1):
            words = " ".join(engine.command) or "vllm"
            yield Wish(
                "generate.engine.command",
                "generate",
                f"start the program {words!r:.200}",
                f"name it yourself: generate.engine.command=[{program}] on the command line, or `programs` in "
                f"{personal_file()}",
            )
        for name in engine.options:
            if _plain_option(name) not in SERVER_OPTIONS and not own.has(*section, "options", name):
                yield Wish(
                    f"generate.engine.options.{name}",
                    "generate",
                    f"start the server with --{_plain_option(name).replace('_', '-')}",
                    f"if you want that: generate.engine.options.{name}={engine.options[name]} on the command line",
                )
    address = engine_address(engine)
    if address is not None and not is_loopback(address) and not generate.allow_remote:
        yield Wish(
            "generate.engine.base_url",
            "generate",
            f"send documents to {address:.200}, which is not on this machine",
            f"if they may go there: generate.allow_remote=true on the command line, or `remote` in {personal_file()}",
        )


def _tracker_wishes(recipe: Recipe, own: PersonalKeys, file: PersonalConsent) -> Iterator[Wish]:
    """Services that runs of the recipe, or of one of its arms, would tell of their metrics."""
    by_key: dict[str, list[str]] = {"train.trackers": list(recipe.train.trackers)}
    for arm in build_arms(recipe):
        by_key[f"arms.{arm.name}.train.trackers"] = list(arm.recipe.train.trackers)
    for key, trackers in by_key.items():
        if own.has("train", "trackers") or own.has(*key.split(".")):
            continue
        for name in trackers:
            if name in _SERVICES and name not in file.trackers:
                yield Wish(
                    key,
                    "train",
                    f"send metrics to {name}",
                    f"if you want that: train.trackers=[{name}] on the command line, or `trackers` in "
                    f"{personal_file()}",
                )


def engine_address(engine: EngineConfig) -> str | None:
    """The server that documents are sent to; None for engines that are on this machine.

    Raises:
        RecipeError: OPENAI_BASE_URL is needed and is no server's address.
    """
    is_client = engine_spec(engine.kind).works_by == "address"
    if engine.base_url or not is_client:
        return engine.base_url if is_client else None
    address = os.environ.get("OPENAI_BASE_URL") or None
    if address is not None:
        checked_address(address, where="OPENAI_BASE_URL")
    return address


def checked_address(address: str, *, where: str) -> str:
    """The address without its last slashes.

    Raises:
        RecipeError: it is no server's.
    """
    try:
        server_of(address)
    except ValueError as error:
        raise RecipeError(str(error), where=where, remedy=REMEDY) from None
    return address.rstrip("/")


def check_options(engine: EngineConfig) -> None:
    """Refuse, by name, options of a server that listen or trust, and values that would be read as options.

    Raises:
        RecipeError: names the option.
    """
    if engine_spec(engine.kind).works_by != "program":
        return
    for key, text in (("model", engine.model), ("revision", engine.revision or "")):
        if text.startswith("-"):
            raise RecipeError(f"{text!r:.80} is no {key}", where=f"generate.engine.{key}", remedy="name a model")
    for name in engine.options:
        plain = _plain_option(name)
        is_word = bool(plain) and set(plain) <= _OPTION_LETTERS and not plain.startswith("_")
        if not is_word or any(plain.startswith(word) or word.startswith(plain) for word in REFUSED_OPTIONS):
            raise RecipeError(
                f"the option {name!r:.80} of the server is refused: servers that megadocs starts listen on this "
                "machine only and run no code of a model's repository",
                where=f"generate.engine.options.{name:.80}",
                remedy="remove it; or start the server yourself and use it with generate.engine.kind=openai",
            )


def _plain_option(name: str) -> str:
    return name.lower().replace("-", "_")


def key_for(address: str) -> str | None:
    """The API key that was given for this server; None when none was.

    `OPENAI_API_KEY` belongs to `OPENAI_BASE_URL`, or to https://api.openai.com where that is not set; other servers
    have theirs named in the person's own file (`keys`). No key goes anywhere else, whatever the recipe says.
    """
    for known, variable in read_personal_file().keys.items():
        if is_same_server(known, address):
            return os.environ.get(variable)
    return os.environ.get("OPENAI_API_KEY") if is_same_server(address, _openai_address()) else None


def why_no_key(address: str) -> str | None:
    """A sentence for the error of a server that wants a key, when one is set that belongs to another server."""
    if key_for(address) is not None or not os.environ.get("OPENAI_API_KEY"):
        return None
    return (
        f"OPENAI_API_KEY belongs to {_openai_address()} and was not sent: set OPENAI_BASE_URL={address}, or name this "
        f"server's own key under `keys` in {personal_file()}"
    )


def _openai_address() -> str:
    return os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"


def personal_file() -> Path:
    """Where the person's own file is, if there is one."""
    named = os.environ.get(_FILE_VARIABLE)
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "megadocs" / "consent.yaml"


def read_personal_file() -> PersonalConsent:
    """What the person's own file allows: nothing where there is none.

    Raises:
        RecipeError: it cannot be read, or says something else than it may.
    """
    path = personal_file()
    if not path.is_file():
        return PersonalConsent()
    data: Any = read_yaml_file(path) or {}
    try:
        return PersonalConsent.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(PersonalConsent.model_fields)
        raise RecipeError(
            f"{key}: {first['msg'].removeprefix('Value error, ')}", where=str(path), remedy=f"known keys: {known}"
        ) from None
