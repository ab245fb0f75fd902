"""Byte-level BPE tokenizers as `tokenizer.json`, from the parts that other file formats store.

A byte-level vocabulary writes each byte as one printable character (GPT-2's table): printable Latin-1 stands for
itself, the other 68 bytes are moved to U+0100 and up. The *pre-tokenizer* (where words are cut before merging) is not
in those files; they name it, and it is looked up here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from megadocs.text.plain_text import TokenizerJson

_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
#: What the `ByteLevel` step stands for where it has a regular expression.
_GPT_2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_BYTES_ONLY = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
_BYTES_AND_WORDS = {**_BYTES_ONLY, "use_regex": True}


def _cut_by(pattern: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _BYTES_ONLY]}


#: Name (as GGUF files give it) -> pre-tokenizer.
PRE_TOKENIZERS: Mapping[str, dict[str, Any]] = {
    "gpt-2": _BYTES_AND_WORDS,
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTES_AND_WORDS],
    },
    "llama-bpe": _cut_by(_LLAMA_3),
    "qwen2": _cut_by(_LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")),
}


def word_pattern(pre_tokenizer: Mapping[str, Any]) -> str | None:
    """The regular expression that takes every word of a text in turn; None for a pre-tokenizer not known to have one.

    Each of them leaves no character of a text out.
    """
    steps = pre_tokenizer.get("pretokenizers") or [pre_tokenizer]
    if steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    if len(steps) == 1:
        return _GPT_2 if steps[0].get("use_regex", True) else None
    known = [PRE_TOKENIZERS[name]["pretokenizers"][0] for name in ("llama-bpe", "qwen2")]
    is_known = len(steps) == 2 and steps[0] in known and not steps[1].get("use_regex", True)
    return str(steps[0]["pattern"]["Regex"]) if is_known else None


def byte_characters() -> list[str]:
    """The character that stands for each byte 0..255."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    moved = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(moved)) for byte in range(256)]


def byte_level_bpe(
    vocabulary: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    controls: Mapping[str, int],
    pre_tokenizer: str,
    *,
    ignore_merges: bool = False,
) -> TokenizerJson:
    """A `tokenizer.json` of a byte-level BPE.

    Args:
        vocabulary: token (in byte characters) -> id, control tokens left out or included.
        merges: pairs in the order they apply.
        controls: control tokens -> id.
        pre_tokenizer: a key of `PRE_TOKENIZERS`.
        ignore_merges: take a whole word that is in the vocabulary without merging (tiktoken does).
    """
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token_id, "content": content, **flags}
            for content, token_id in sorted(controls.items(), key=lambda item: item[1])
        ],
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[pre_tokenizer],
        "post_processor": None,
        "decoder": _BYTES_AND_WORDS,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": ignore_merges,
            "vocab": dict(vocabulary),
            "merges": [list(merge) for merge in merges],
        },
    }
