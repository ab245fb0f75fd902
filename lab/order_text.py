"""Public text for the warm start of `recipes/order.yaml`: prose of documentation, half of its records twice.

    apt-get download linux-doc-6.12 && dpkg -x linux-doc-6.12_*.deb tree
    python lab/order_text.py tree runs/order_text.jsonl    # several trees: name them one after another

Reads every .rst, .txt, .md (or .gz of one) and .html in name order, keeps paragraphs of prose, and writes records of at
most 6,000 characters. Every second record is a passage written twice, so that copying from the context pays from
the start (arXiv:2505.17863). The text is read where it is and never stored in the project.
"""

from __future__ import annotations

import gzip
import html
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_ENDINGS = (".rst", ".txt", ".md", ".html")
_RECORD_CHARACTERS = 6000
#: A repeated passage: two copies of some 200 tokens stand in one window of 768.
_PASSAGE_CHARACTERS = 600
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]+>", re.DOTALL)


def iter_texts(root: Path) -> Iterator[str]:
    """The text of every file of the tree."""
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or not path.name.removesuffix(".gz").endswith(_ENDINGS):
            continue
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", errors="ignore")
        yield html.unescape(_TAG.sub("", text)) if ".html" in path.name else text


def prose(text: str) -> list[str]:
    """Paragraphs of at least 80 characters, nine tenths of them letters, blanks and common punctuation."""
    found = []
    for block in re.split(r"\n\s*\n", text):
        paragraph = " ".join(block.split())
        plain = sum(character.isalpha() or character in " .,;'()-" for character in paragraph)
        if (
            len(paragraph) >= 80
            and plain >= 0.9 * len(paragraph)
            and "...." not in paragraph
            and "----" not in paragraph
        ):
            found.append(paragraph)
    return found


def iter_records(roots: list[Path]) -> Iterator[str]:
    """Records of prose; every second one is a passage twice."""
    seen: set[str] = set()
    number = 0
    for text in (text for root in roots for text in iter_texts(root)):
        record = ""
        for paragraph in [*prose(text), None]:
            if paragraph in seen:
                continue
            if record and (paragraph is None or len(record) + len(paragraph) > _RECORD_CHARACTERS):
                number += 1
                passage = record[:_PASSAGE_CHARACTERS]
                yield f"{passage}\n\n{passage}" if number % 2 == 0 else record
                record = ""
            if paragraph is not None:
                seen.add(paragraph)
                record += ("\n\n" if record else "") + paragraph


def main(*names: str) -> None:
    """Write the records and say how many."""
    *roots, target = names
    characters = records = 0
    with Path(target).open("w", encoding="utf-8") as file:
        for record in iter_records([Path(root) for root in roots]):
            file.write(json.dumps({"text": record}) + "\n")
            characters += len(record)
            records += 1
    print(f"{records:,} records, {characters / 1e6:.1f} million characters: {target}")


if __name__ == "__main__":
    main(*sys.argv[1:])
