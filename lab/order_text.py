"""Public text for the warm start of `recipes/order.yaml`: prose of documentation, most of it in some way twice.

    apt-get download linux-doc-6.1 && dpkg -x linux-doc-6.1_*.deb tree/linux-doc-6.1
    python lab/order_text.py tree/linux-doc-6.1 ... runs/order_text    # several trees: name them one after another

Reads every .rst, .txt, .md (or .gz of one) and .html in name order, keeps paragraphs of prose, and writes whole files
for the tokenizer, `tokenizer.jsonl`; pieces of prose, `prose.jsonl`; and 30 million characters, `text.jsonl`. Of a
hundred of its records 35 are prose; 30 a passage and again, half of them behind another text of any length; 20 a few
words over and over; 15 a passage and its clauses in another order. So copying from the context pays from the start
(arXiv:2505.17863). `retold.jsonl`, 10 million characters, is for the end: 40 of a hundred records are prose, 15 a
passage again, 45 a passage behind one to five garbled versions of itself (a quarter of its words left out, pieces of
one to five words in a little other order, foreign words between), so that what is worth copying has to be found again
and again. The text is read where it is and never stored in the project.
"""

from __future__ import annotations

import gzip
import html
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

#: Characters of the files that are drawn, and files that the tokenizer is trained on.
CHARACTERS = {"text": 30e6, "retold": 10e6, "prose": 6e5}
TOKENIZER_FILES = 1500
_ENDINGS = (".rst", ".txt", ".md", ".html")
_CLAUSE = re.compile(r"(?<=[.,;:]) ")
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


def read_documents(roots: list[Path]) -> list[list[str]]:
    """The paragraphs of every file, in a random order of files; none twice."""
    seen: set[str] = set()
    documents = []
    for root in sorted(roots):
        for text in iter_texts(root):
            paragraphs = [paragraph for paragraph in prose(text) if paragraph not in seen]
            seen.update(paragraphs)
            if paragraphs:
                documents.append(paragraphs)
    random.Random(0).shuffle(documents)
    return documents


def iter_records(documents: list[list[str]], shares: tuple[float, ...], characters: float, seed: int) -> Iterator[str]:
    """Records of prose, passages again, words again, clauses again, in these shares."""
    rng = random.Random(seed)
    words = draw_words(rng, documents)
    while characters > 0:
        text = "\n\n".join(rng.choice(documents))
        kind = rng.choices(range(len(shares)), shares)[0]
        if kind == 0:
            record = part(rng, text, 3000)
        elif kind == 1:
            passage = part(rng, text, rng.randint(60, 800))
            other = "\n\n".join(rng.choice(documents))
            between = part(rng, other, rng.randint(0, 400))
            again = [between, passage] if rng.random() < 0.5 else [passage] * (2 if len(passage) < 300 else 1)
            record = "\n\n".join([passage, *again])
        elif kind == 2:
            number = rng.randint(6, 50)
            record = " ".join(rng.sample(words, number) * max(2, 160 // number))
        else:
            passage = part(rng, text, rng.randint(300, 800))
            clauses = _CLAUSE.split(passage)
            record = passage + "\n\n" + " ".join(rng.sample(clauses, len(clauses)))
        yield record
        characters -= len(record)


def iter_retold(documents: list[list[str]], characters: float, seed: int) -> Iterator[str]:
    """Records of prose, of passages behind garbled versions of themselves (a record each), of passages again."""
    rng = random.Random(seed)
    words = draw_words(rng, documents)
    while characters > 0:
        text = "\n\n".join(rng.choice(documents))
        kind = rng.choices(range(3), (0.4, 0.45, 0.15))[0]
        if kind == 0:
            found = [part(rng, text, 3000)]
        elif kind == 1:
            passage = part(rng, text, rng.randint(150, 450))
            found = [*(garbled(rng, passage, words) for _ in range(rng.randint(1, 5))), passage]
        else:
            passage = part(rng, text, rng.randint(60, 800))
            other = "\n\n".join(rng.choice(documents))
            found = ["\n\n".join([passage, part(rng, other, rng.randint(0, 600)), passage])]
        yield from found
        characters -= sum(map(len, found))


def draw_words(rng: random.Random, documents: list[list[str]]) -> list[str]:
    """The words of 400 documents, or of all where there are fewer."""
    drawn = rng.sample(documents, min(400, len(documents)))
    return [word for paragraphs in drawn for text in paragraphs[:20] for word in text.split()]


def garbled(rng: random.Random, passage: str, words: list[str]) -> str:
    """Pieces of one to five words, a quarter left out, the rest a little out of order, foreign words between."""
    left, pieces = passage.split(), []
    while left:
        length = rng.randint(1, 5)
        pieces.append(left[:length])
        left = left[length:]
    kept = [piece for piece in pieces if rng.random() < 0.75]
    found: list[str] = []
    for place in sorted(range(len(kept)), key=lambda place: place + rng.uniform(0, 4)):
        found += kept[place]
        if rng.random() < 0.3:
            found += [rng.choice(words) for _ in range(rng.randint(1, 3))]
    return " ".join(found)


def part(rng: random.Random, text: str, length: int) -> str:
    """So many characters of the text, wherever they fall."""
    start = rng.randrange(max(1, len(text) - length))
    return text[start : start + length]


def main(*names: str) -> None:
    """Write the four files and say how much."""
    *roots, folder = names
    documents = read_documents([Path(root) for root in roots])
    found = {
        "tokenizer": ["\n\n".join(paragraphs) for paragraphs in documents[:TOKENIZER_FILES]],
        "text": list(iter_records(documents, (0.35, 0.3, 0.2, 0.15), CHARACTERS["text"], seed=1)),
        "retold": list(iter_retold(documents, CHARACTERS["retold"], seed=3)),
        "prose": list(iter_records(documents, (1.0,), CHARACTERS["prose"], seed=2)),
    }
    for name, records in found.items():
        path = Path(folder) / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({"text": record}) + "\n" for record in records), encoding="utf-8")
        print(f"{len(records):,} records, {sum(map(len, records)) / 1e6:.1f} million characters: {path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
