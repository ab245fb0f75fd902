"""Making document text harmless inside a chat prompt.

A server puts our messages into its chat template and then recognises its control strings (`<|im_end|>`, `[/INST]`,
`</s>`) wherever they stand: a web page that holds one could end our message and begin its own. `neutralise` breaks
every string of that shape with a space; `find_control_strings` tells whether a reply holds one. Both only read
text as text: document text is never a template (see `styles`).
"""

from __future__ import annotations

import re

#: Raised when `neutralise` or `fence` changes what it writes: enters every generation's identity.
SAFETY_VERSION = 1

#: The lines that fence document text in a prompt.
FENCE = '"""'

_CONTROL = re.compile(
    r"<\|[^|<>\n]{1,64}\|>"  # <|im_start|>, <|eot_id|>, <|endoftext|>, <|channel|> ...
    r"|<｜[^｜<>\n]{1,64}｜>"  # the same with full-width bars
    r"|</?s>|<(?:bos|eos|pad|unk|mask|end_of_utterance)>|</?(?:start|end)_of_(?:turn|text|image)>"
    r"|<</?SYS>>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|B_INST|E_INST)\]",
    re.IGNORECASE,
)


def find_control_strings(text: str) -> list[str]:
    """The chat-control strings in a text, in order."""
    return _CONTROL.findall(text) if _may_hold_control(text) else []


def neutralise(text: str) -> str:
    """The text with a space after the first character of each control string, so that no template engine or tokenizer
    reads it as control; all else is unchanged."""
    return _CONTROL.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text) if _may_hold_control(text) else text


def _may_hold_control(text: str) -> bool:
    """Every control string begins with one of two characters; looking for them first is 20 times faster."""
    return "<" in text or "[" in text


def fence(text: str) -> str:
    """Document text between two fence lines; the fence inside the text becomes three single quotes."""
    return f"{FENCE}\n{neutralise(text).replace(FENCE, chr(39) * 3).strip()}\n{FENCE}"
