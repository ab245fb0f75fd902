"""A tokenizer that can only read text: the control tokens of a `tokenizer.json` made unreachable.

Documents hold strings such as `<|eot_id|>` or `</s>`; as control ids they would end a row that goes on. The switch
`encode_special_tokens` of `tokenizers` is not enough: it leaves added tokens that are not flagged special, it is lost
when a tokenizer is saved and loaded, and a model such as Unigram finds `</s>` in its own vocabulary whatever the switch
says. So the tokenizer is taken apart as JSON and put together again for encoding: every control token keeps its id but
gets a name drawn at random for this process, which no text can contain, and every merge that would build it is removed.

What counts as control: every added token, except those made of white space only (GPT-NeoX and Gemma store runs of
spaces and line ends that way; they are text). `<unk>` stays usable for what the tokenizer does not know, but the string
"<unk>" no longer produces it.
"""

from __future__ import annotations

import secrets
from typing import Any

TokenizerJson = dict[str, Any]


def control_tokens(spec: TokenizerJson, separators: tuple[str, ...] = ()) -> dict[str, int]:
    """Contents and declared ids of the tokens that text must never become.

    Args:
        spec: a parsed `tokenizer.json`.
        separators: BOS and EOS, which are control tokens even where the file does not list them as added (as is the
            unknown token).
    """
    controls = {token["content"]: int(token["id"]) for token in spec.get("added_tokens") or [] if not is_text(token)}
    vocabulary = model_vocabulary(spec)
    for name in (*separators, unknown_token(spec)):
        if name is not None and name not in controls and name in vocabulary:
            controls[name] = vocabulary[name]
    return controls


def unknown_token(spec: TokenizerJson) -> str | None:
    """The token that stands for what the tokenizer does not know; None where it has none."""
    model = spec["model"]
    if model.get("unk_id") is not None:  # Unigram
        return str(model["vocab"][model["unk_id"]][0])
    unknown = model.get("unk_token")
    return None if unknown is None else str(unknown)


def is_text(token: dict[str, Any]) -> bool:
    """Whether an added token is ordinary text: a run of white space, matched exactly where it stands."""
    exact = not (token.get("special") or token.get("single_word") or token.get("lstrip") or token.get("rstrip"))
    return exact and bool(token["content"]) and not token["content"].strip()


def model_vocabulary(spec: TokenizerJson) -> dict[str, int]:
    """Token -> id of the model itself, without added tokens."""
    vocabulary = spec["model"]["vocab"]
    if isinstance(vocabulary, list):  # Unigram: [piece, score] in the order of ids
        return {piece: index for index, (piece, _) in enumerate(vocabulary)}
    return dict(vocabulary)


def hidden_names(controls: dict[str, int]) -> dict[str, str]:
    """For each control token a name that no text can hold, drawn anew at every call."""
    nonce = secrets.token_hex(16)
    return {content: f"\ue000{nonce}:{token_id}\ue000" for content, token_id in controls.items()}


def text_only(spec: TokenizerJson, names: dict[str, str]) -> TokenizerJson:
    """A copy of `spec` that encodes text without ever reaching the tokens that get `names`; ids are unchanged."""
    return {
        **spec,
        "truncation": None,
        "padding": None,
        "post_processor": None,
        "added_tokens": [_renamed(token, names) for token in spec.get("added_tokens") or []],
        "model": _renamed_model(spec["model"], names),
    }


def _renamed(token: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    if token["content"] not in names:
        return token
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token["id"], "content": names[token["content"]], **flags}


def _renamed_model(model: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        return {**model, "vocab": [[names.get(piece, piece), score] for piece, score in vocabulary]}
    renamed = {**model, "vocab": {names.get(token, token): index for token, index in vocabulary.items()}}
    if model.get("unk_token") in names:
        renamed["unk_token"] = names[model["unk_token"]]
    if model.get("merges"):
        renamed["merges"] = [merge for merge in model["merges"] if not _touches(merge, names)]
    return renamed


def _touches(merge: str | list[str], names: dict[str, str]) -> bool:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left in names or right in names or left + right in names
