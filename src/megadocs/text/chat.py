"""Chat prompts for a model that is read here: its own template, its own control tokens.

    chat = load_chat(path)                        # a GGUF file or a Hugging Face folder
    ids = chat.prompt([{"role": "user", "content": "Rewrite this."}])
    text = chat.decode(new_ids)

The template comes with the model and is untrusted: it is rendered in jinja2's immutable sandbox, as transformers does.
Messages arrive with their chat-control strings broken up, so that the control tokens of a prompt are the template's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import tokenizers

from megadocs.errors import InputError
from megadocs.text.gguf_file import read_header, tokenizer_of
from megadocs.text.tokenizer import Tokenizer, load_tokenizer

_MAX_JSON_BYTES = 256 << 20
_MAX_TEMPLATE_CHARACTERS = 1 << 20
#: Tokens that end a turn; they end a reply where the vocabulary has them.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<|eom_id|>", "<end_of_turn>")
_AGAIN = "copy or download the model again"
_BASE_MODEL = "for a base model set generate.engine.api=completions; else give a model with a chat template"


@dataclass(frozen=True, slots=True)
class _Source:
    """What a model's files say beside the tokenizer."""

    template: str | None
    end_ids: frozenset[int]
    adds_bos: bool


class Chat:
    """Prompts and replies of one model.

    Args:
        source: its template and its end tokens.
        where: what to name in errors.
    """

    def __init__(self, tokenizer: Tokenizer, source: _Source, where: str) -> None:
        self._full = tokenizers.Tokenizer.from_str(tokenizer.to_json())
        self._template = None if source.template is None else _compile(source.template, where)
        self._separators = {"bos_token": tokenizer.bos_token or "", "eos_token": tokenizer.eos_token}
        self._bos_ids = [tokenizer.bos_id] if source.adds_bos and tokenizer.bos_id is not None else []
        self._where = where
        ends = (self._full.token_to_id(token) for token in _TURN_ENDS)
        own = (end for end in ends if end is not None)
        self.stop_ids: frozenset[int] = frozenset({tokenizer.eos_id, *source.end_ids, *own})
        self.vocab_size = tokenizer.vocab_size

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of the messages in the model's template, up to where its reply begins.

        Raises:
            InputError: there is no template, or it does not render.
        """
        if self._template is None:
            raise InputError("the model has no chat template", where=self._where, remedy=_BASE_MODEL)
        try:
            text = self._template.render(
                messages=[dict(message) for message in messages], add_generation_prompt=True, **self._separators
            )
        except Exception as error:  # a template is a program of somebody else's: whatever it raises
            raise InputError(
                f"the chat template does not render: {type(error).__name__}: {str(error)[:200]}",
                where=self._where,
                remedy=f"use an instruct model of the same family with a working template; {_BASE_MODEL}",
            ) from error
        return list(self._full.encode(text, add_special_tokens=False).ids)

    def plain_prompt(self, text: str) -> list[int]:
        """Token ids of a text to be continued, behind the BOS where the model wants one."""
        ids: list[int] = list(self._full.encode(text, add_special_tokens=True).ids)
        return ids if ids[: len(self._bos_ids)] == self._bos_ids else [*self._bos_ids, *ids]

    def continuation(self, text: str) -> list[int]:
        """Token ids of a text behind a prompt."""
        return list(self._full.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of new tokens, control tokens left out."""
        return str(self._full.decode(list(ids), skip_special_tokens=True))


def load_chat(path: Path) -> Chat:
    """From a GGUF file or a Hugging Face folder.

    Raises:
        InputError: no tokenizer that can be read, or a template that is none.
    """
    if path.is_dir():
        return Chat(load_tokenizer(str(path)), _read_folder(path), str(path))
    fields = read_header(path).fields
    spec, bos_token, eos_token = tokenizer_of(fields, path)
    end_keys = ("eos_token_id", "eot_token_id", "eom_token_id")
    found = (fields.get(f"tokenizer.ggml.{key}") for key in end_keys)
    source = _Source(
        template=fields.get("tokenizer.chat_template"),
        end_ids=frozenset(value for value in found if isinstance(value, int)),
        adds_bos=bool(fields.get("tokenizer.ggml.add_bos_token", False)),
    )
    return Chat(Tokenizer(spec, bos_token, eos_token, where=str(path)), source, str(path))


def _read_folder(folder: Path) -> _Source:
    """Template and end tokens of a folder; a file `chat_template.jinja` wins, as it does in transformers."""
    config = _read_json(folder / "tokenizer_config.json")
    template = config.get("chat_template")
    if isinstance(template, list):  # several by name
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    file = folder / "chat_template.jinja"
    if file.is_file():
        template = _read_template(file)
    ends: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        value = _read_json(folder / name).get("eos_token_id")
        ends.update(item for item in (value if isinstance(value, list) else [value]) if isinstance(item, int))
    return _Source(template if isinstance(template, str) else None, frozenset(ends), bool(config.get("add_bos_token")))


def _read_template(path: Path) -> str:
    """At most one character more than a template may have: `_compile` names one that is longer."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MAX_TEMPLATE_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"the chat template cannot be read: {error}", where=str(path), remedy=_AGAIN) from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.stat().st_size > _MAX_JSON_BYTES:
        return {}
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(path), remedy=_AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", where=str(path), remedy=_AGAIN) from error
    return value if isinstance(value, dict) else {}


def _compile(template: str, where: str) -> Any:
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.globals["raise_exception"] = refuse
    # No `strftime_now`: today's date would make the same request another prompt every day; templates have a fixed one.
    try:
        if len(template) > _MAX_TEMPLATE_CHARACTERS:
            raise TemplateError("longer than a million characters")
        return environment.from_string(template)
    except TemplateError as error:
        raise InputError(f"the chat template is none: {error}", where=where, remedy=_BASE_MODEL) from error
