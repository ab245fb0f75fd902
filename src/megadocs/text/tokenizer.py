"""The tokenizer: text to ids without control tokens, rows with separators, and back.

One class serves every kind of tokenizer (trained here, `tokenizer.json`, Hugging Face folder or hub name, Llama-3's
tiktoken file, GGUF): each is brought into the form of a `tokenizer.json` first.

    tokenizer = train_tokenizer(texts, vocab_size=2048)
    tokenizer = load_tokenizer("HuggingFaceTB/SmolLM2-135M")
    rows = tokenizer.encode_rows(["a document", "another"])      # uint32 arrays: BOS ids EOS

Promises: no text, whatever strings it holds, produces a control id; a row has exactly `separators_per_row` separators;
`decode(encode(x)) == x` for byte-level tokenizers without a normaliser; results do not depend on batch or thread count.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from megadocs.errors import InputError, StoreError
from megadocs.machine import usable_cores
from megadocs.text import token_spans
from megadocs.text.byte_level import byte_characters
from megadocs.text.plain_text import (
    TokenizerJson,
    control_tokens,
    hidden_names,
    model_vocabulary,
    text_only,
    unknown_token,
)
from megadocs.text.sources import LoadedSpec, read_source
from megadocs.text.token_spans import TokenSpans, window_end
from megadocs.text.word_ids import WORTH_CORES, build_word_ids

TokenIds = npt.NDArray[np.uint32]

BOS_TOKEN = "<|bos|>"
EOS_TOKEN = "<|eos|>"
_BATCH_TEXTS = 2048
_MAX_UNKNOWN_SHARE = 0.5


class Tokenizer:
    """A tokenizer for documents.

    Args:
        spec: the parsed `tokenizer.json`.
        bos_token: content of the token that opens a row, None when the tokenizer has none.
        eos_token: content of the token that closes a row.
        where: what to name in errors (a path or hub name).

    Attributes:
        bos_id: id of BOS, None when the tokenizer has none.
        eos_id: id of EOS.
        vocab_size: number of ids, control tokens included (largest id + 1).
        is_lossless: whether `decode(encode(x)) == x` for every text. SmolLM2's tokenizer, for one, is not lossless:
            its vocabulary lacks six ASCII control characters and drops them.

    Raises:
        InputError: the JSON is not a tokenizer, or a separator is not in its vocabulary.
    """

    def __init__(self, spec: TokenizerJson, bos_token: str | None, eos_token: str, where: str = "tokenizer") -> None:
        self._as_given = json.dumps(spec, ensure_ascii=False)
        self.bos_token, self.eos_token = bos_token, eos_token
        try:
            controls = control_tokens(spec, tuple(token for token in (bos_token, eos_token) if token is not None))
            names = hidden_names(controls)
            plain = text_only(spec, names)
            self._plain = tokenizers.Tokenizer.from_str(json.dumps(plain, ensure_ascii=False))
            self._words = build_word_ids(plain, self._library_encodings)
            self.is_lossless: bool = _is_lossless(spec)
            unknown = unknown_token(spec)
        except Exception as error:  # `tokenizers` raises plain Exception for whatever it cannot parse
            raise _unusable(error, where) from error
        self._where = where
        found = {token: self._plain.token_to_id(names[token]) for token in controls}
        ids = {token: token_id for token, token_id in found.items() if token_id is not None}
        for separator in (bos_token, eos_token):
            if separator is not None and separator not in ids:
                raise InputError(f"the separator {separator!r} is not in the vocabulary", where=where)
        self.eos_id: int = ids[eos_token]
        self.bos_id: int | None = None if bos_token is None else ids[bos_token]
        self.vocab_size: int = max(self._plain.get_vocab(with_added_tokens=True).values()) + 1
        self._control_mask = np.zeros(self.vocab_size, dtype=np.bool_)
        self._control_mask[[*ids.values()]] = True
        self.unknown_id: int | None = ids.get(unknown) if unknown is not None else None
        if unknown in ids and unknown not in (bos_token, eos_token):
            # What the tokenizer does not know may become <unk>; the string "<unk>" may not (it is unreachable).
            self._control_mask[ids[unknown]] = False

    @cached_property
    def _json(self) -> str:
        """Canonical, and made when it is asked for, as is what follows: texts are encoded without."""
        return _canonical(json.loads(self._as_given))

    @cached_property
    def _full(self) -> tokenizers.Tokenizer:
        """With its control tokens."""
        try:
            return tokenizers.Tokenizer.from_str(self._json)
        except Exception as error:
            raise _unusable(error, self._where) from error

    @property
    def separators_per_row(self) -> int:
        """2 with a BOS of its own, 1 where there is only an EOS or both are the same token."""
        return 1 if self.bos_id is None or self.bos_id == self.eos_id else 2

    @property
    def puts_bos(self) -> bool:
        """Whether the `tokenizer.json` itself puts BOS before a text (Llama 3: yes; SmolLM2: no)."""
        ids = self._full.encode("a", add_special_tokens=True).ids
        return self.bos_id is not None and ids[:1] == [self.bos_id]

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids that no text can produce."""
        return frozenset(int(token_id) for token_id in np.flatnonzero(self._control_mask))

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the canonical `tokenizer.json` and the two separators."""
        return hashlib.sha256(_canonical([self._json, self.bos_token, self.eos_token]).encode("utf-8")).hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> list[TokenIds]:
        """Ids of each text: no separators, never a control id; all cores are used.

        Raises:
            InputError: a text holds a lone surrogate, which no tokenizer can read.
        """
        return self._encode(texts, num_before=0, num_after=0)

    def encode_rows(self, texts: Sequence[str]) -> list[TokenIds]:
        """Ids of each text as a row: BOS, text, EOS; without BOS where `separators_per_row` is 1."""
        num_before = self.separators_per_row - 1
        rows = self._encode(texts, num_before, num_after=1)
        for row in rows:
            row[:num_before] = self.bos_id or 0
            row[-1] = self.eos_id
        return rows

    def _encode(self, texts: Sequence[str], num_before: int, num_after: int) -> list[TokenIds]:
        """Ids with room for separators; one batch is turned into arrays while the next is encoded."""
        if len(texts) <= _BATCH_TEXTS:
            return list(self._checked(self._encode_ids(list(texts)), num_before, num_after))
        batches = [list(texts[start : start + _BATCH_TEXTS]) for start in range(0, len(texts), _BATCH_TEXTS)]
        rows: list[TokenIds] = []
        with ThreadPoolExecutor(max_workers=1) as ahead:
            pending = deque(ahead.submit(self._encode_ids, batch) for batch in batches[:2])
            for index in range(len(batches)):
                ids = pending.popleft().result()
                if index + 2 < len(batches):
                    pending.append(ahead.submit(self._encode_ids, batches[index + 2]))
                rows.extend(self._checked(ids, num_before, num_after))
        return rows

    def _encode_ids(self, texts: list[str]) -> list[TokenIds]:
        """Ids without separators: by words where they are known, else by the library, which uses all cores."""
        words = self._words if usable_cores() <= WORTH_CORES else None
        try:
            known = [words is not None and words.knows(text) for text in texts]
            by_words = iter(words.encode(list(compress(texts, known))) if words is not None else ())
            rest = iter(
                self._library_encodings([text for text, is_known in zip(texts, known, strict=True) if not is_known])
            )
            # By way of an array: twice as fast as numpy's own reading of a list (11 against 21 ns a token).
            raw = [next(by_words) if is_known else array("I", next(rest).ids) for is_known in known]
        except (AttributeError, TypeError, UnicodeEncodeError) as error:
            raise InputError(
                f"a text is not valid Unicode: {error}", remedy="the corpus readers reject such records; use them"
            ) from error
        return [np.frombuffer(ids, dtype=np.uint32) for ids in raw]

    def _library_encodings(self, texts: list[str]) -> list[Any]:
        encodings: list[Any] = self._plain.encode_batch_fast(texts, add_special_tokens=False)
        return encodings

    def _checked(self, raw: list[TokenIds], num_before: int, num_after: int) -> Iterator[TokenIds]:
        for ids in raw:
            if self._control_mask[ids].any():
                raise InputError("the tokenizer turned text into a control id", remedy="report this tokenizer")
            row = np.zeros(num_before + len(ids) + num_after, dtype=np.uint32)
            row[num_before : num_before + len(ids)] = ids
            yield row

    def refuse_unknown(self, texts: Sequence[str], where: str) -> None:
        """Stop where the tokenizer knows less than half of some texts: nothing could be learnt from their ids.

        Raises:
            InputError: with the share of ids that stand for what it does not know.
        """
        if self.unknown_id is None or not texts:
            return
        ids = np.concatenate(self.encode_batch(texts))
        share = float((ids == self.unknown_id).mean()) if len(ids) else 0.0
        if share > _MAX_UNKNOWN_SHARE:
            raise InputError(
                f"the tokenizer does not know {share:.0%} of the text",
                where=where,
                remedy="name one that was made for this language or script, or train one (tokenizer.kind=train)",
            )

    def decode(self, ids: Iterable[int] | TokenIds) -> str:
        """The text of the ids; separators appear as their names."""
        return str(self._full.decode([int(token_id) for token_id in ids], skip_special_tokens=False))

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """For each token of `encode_batch([text])[0]` the characters [start, end) of `text` it stands for.

        Several byte-level tokens of one character share its span. A text of more than a million characters is read in
        windows that begin with the blank before a word: an encoding takes 130 bytes a character while it is made.
        """
        if len(text) <= token_spans.WINDOW_CHARACTERS:
            encoding = self._plain.encode(text, add_special_tokens=False)
            return [(int(start), int(end)) for start, end in encoding.offsets]
        spans, begin = TokenSpans(), 0
        while begin < len(text):
            end = window_end(text, begin)
            spans.extend(self._plain.encode(text[begin:end], add_special_tokens=False).offsets, begin)
            begin = end
        return spans

    def to_json(self) -> str:
        """The whole tokenizer (control tokens included) as the text of a `tokenizer.json`."""
        return self._json

    def save(self, path: str | Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json` (which names BOS and EOS) into a folder.

        `path` is the folder, or the path of the `tokenizer.json` itself. `transformers` reads the folder, too.
        """
        path = Path(path)
        folder = path.parent if path.suffix == ".json" else path
        file = path if path.suffix == ".json" else path / "tokenizer.json"
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": self.bos_token,
            "eos_token": self.eos_token,
            "clean_up_tokenization_spaces": False,
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text(self._json + "\n", encoding="utf-8")
            config_text = json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False)
            (folder / "tokenizer_config.json").write_text(config_text + "\n", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot write the tokenizer: {error.strerror}", where=str(file)) from error


def load_tokenizer(source: str, revision: str | None = None) -> Tokenizer:
    """Load a tokenizer.

    Args:
        source: a `tokenizer.json`, a folder with one, a Llama-3 tiktoken file, a GGUF file, or a name on the hub.
        revision: hub revision; None is the default branch.

    Raises:
        InputError: nothing there, not a tokenizer, or no EOS token could be found.
    """
    loaded: LoadedSpec = read_source(source, revision)
    return Tokenizer(loaded.spec, loaded.bos_token, loaded.eos_token, where=source)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train a byte-level BPE tokenizer: 2 separators, 256 bytes, and merges seen at least twice.

    Deterministic: depends on the texts as a multiset only. `vocab_size` of the result is smaller where the texts do not
    hold enough repeated pairs.
    """
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trained.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[BOS_TOKEN, EOS_TOKEN],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    return Tokenizer(json.loads(trained.to_str()), BOS_TOKEN, EOS_TOKEN, where="trained tokenizer")


def _unusable(error: Exception, where: str) -> InputError:
    return InputError(f"not a usable tokenizer: {error!r}", where=where, remedy="check the file")


def _is_lossless(spec: TokenizerJson) -> bool:
    """Byte-level, all 256 bytes in the vocabulary, nothing normalised."""
    pre_tokenizer = spec.get("pre_tokenizer") or {}
    steps = [pre_tokenizer, *(pre_tokenizer.get("pretokenizers") or [])]
    is_byte_level = any(step.get("type") == "ByteLevel" and not step.get("add_prefix_space") for step in steps)
    normalizer = spec.get("normalizer") or {}
    is_exact = not normalizer or normalizer.get("normalizers") == []  # DeepSeek's is a sequence of none
    return is_byte_level and is_exact and model_vocabulary(spec).keys() >= {*byte_characters()}


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
