"""Llama 3's tokenizer file (tiktoken format: one base64 token and its rank a line) as a `tokenizer.json`.

The file holds no merges: transformers makes them from the ranks. What control tokens there are, and the rule that cuts
words, is in no file. The ids were compared with `tiktoken`'s algorithm (see the tests).
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from megadocs.errors import InputError
from megadocs.text.byte_level import byte_level_bpe
from megadocs.text.plain_text import TokenizerJson

LLAMA_3_BOS = "<|begin_of_text|>"
LLAMA_3_EOS = "<|end_of_text|>"
_NUM_ORDINARY = 128_000
_NUM_CONTROLS = 256
_MAX_FILE_BYTES = 64 << 20
#: Control tokens after the ordinary ones; every position without a name here is "<|reserved_special_token_n|>".
_NAMED = {
    0: LLAMA_3_BOS,
    1: LLAMA_3_EOS,
    4: "<|finetune_right_pad_id|>",
    5: "<|step_id|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    8: "<|eom_id|>",
    9: "<|eot_id|>",
    10: "<|python_tag|>",
    11: "<|image|>",
}


def read_llama_3(path: Path) -> TokenizerJson:
    """The `tokenizer.json` of Llama 3's `tokenizer.model`: 128,000 ordinary and 256 control tokens.

    Raises:
        InputError: not a tiktoken file, or not Llama 3's (the rule that cuts words is not in the file).
    """
    from transformers.convert_slow_tokenizer import TikTokenConverter

    ranks = _read_ranks(path)
    if len(ranks) != _NUM_ORDINARY or sorted(ranks.values()) != list(range(_NUM_ORDINARY)):
        raise InputError(
            f"a tiktoken file of {len(ranks)} tokens; only Llama 3's (128,000) is known",
            where=str(path),
            remedy="use the model's tokenizer.json",
        )
    make: Any = TikTokenConverter
    converter = make()
    # Ranks are read here: the package tiktoken would serve a changed file from a cache that it keeps by path.
    converter.load_tiktoken_bpe = lambda _: ranks
    vocabulary, merges = converter.extract_vocab_merges_from_model(str(path))
    return byte_level_bpe(vocabulary, merges, _controls(), "llama-bpe", ignore_merges=True)


def _controls() -> dict[str, int]:
    controls: dict[str, int] = {}
    num_reserved = 0
    for position in range(_NUM_CONTROLS):
        name = _NAMED.get(position)
        if name is None:
            name = f"<|reserved_special_token_{num_reserved}|>"
            num_reserved += 1
        controls[name] = _NUM_ORDINARY + position
    return controls


def _read_ranks(path: Path) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    remedy = "give a tokenizer.json; a SentencePiece tokenizer.model is converted by transformers' save_pretrained"
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise InputError("too large for a tokenizer file", where=str(path), remedy=remedy)
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(path)) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            what = "not a tokenizer file of a known kind" if number == 1 else f"line {number} is damaged"
            raise InputError(what, where=str(path), remedy=remedy) from error
    return ranks
