"""The tokenizer: round trips, separators, no control ids, split points, determinism."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megadocs.errors import InputError
from megadocs.text.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

TEXTS = ["The quick brown fox jumps over the lazy dog. " * 3, "The lazy dog sleeps.\n\nThe fox does not."]
TRAINED = train_tokenizer(TEXTS, 300)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
MARKERS = ["<|bos|>", "<|eos|>", "<|", "bos", "|>", "<unk>", "</s>"]


def test_trained_vocabulary() -> None:
    assert (TRAINED.bos_id, TRAINED.eos_id, TRAINED.separators_per_row) == (0, 1, 2)
    assert 258 < TRAINED.vocab_size <= 300
    assert TRAINED.control_ids == {0, 1}


@given(ANY_TEXT)
def test_decode_of_encode_is_the_text(text: str) -> None:
    assert TRAINED.decode(TRAINED.encode_batch([text])[0]) == text


@given(st.lists(st.sampled_from([*MARKERS, " ", "a", "\n"]), max_size=12).map("".join))
def test_no_string_becomes_a_control_id(text: str) -> None:
    row = TRAINED.encode_rows([text])[0].tolist()
    assert (row[0], row[-1]) == (0, 1)
    assert not TRAINED.control_ids & set(row[1:-1])
    assert TRAINED.decode(row[1:-1]) == text


def test_rows_of_a_batch_do_not_depend_on_each_other() -> None:
    batch = TRAINED.encode_batch([*TEXTS, ""])
    assert [ids.tolist() for ids in batch] == [TRAINED.encode_batch([text])[0].tolist() for text in [*TEXTS, ""]]
    assert batch[2].tolist() == []
    assert batch[0].dtype == "uint32"


def test_a_lone_surrogate_is_an_input_error() -> None:
    with pytest.raises(InputError, match="Unicode"):
        TRAINED.encode_batch(["\ud800"])


def test_save_and_load(tmp_path: Path) -> None:
    TRAINED.save(tmp_path / "tok")
    for source in (tmp_path / "tok", tmp_path / "tok" / "tokenizer.json"):
        loaded = load_tokenizer(str(source))
        assert loaded.fingerprint == TRAINED.fingerprint
        text = "a<|eos|>b <|bos|>"
        assert loaded.encode_rows([text])[0].tolist() == TRAINED.encode_rows([text])[0].tolist()


def test_training_does_not_depend_on_threads_order_or_hash_seed(tmp_path: Path) -> None:
    code = (
        "import sys; from megadocs.text.tokenizer import train_tokenizer;"
        "t=[f'word{i%7} and number {i*i} end.' for i in range(400)];"
        "t=t[::-1] if sys.argv[1]=='r' else t; print(train_tokenizer(t, 600).fingerprint)"
    )
    seen = set()
    for order, threads, seed in [("f", "1", "1"), ("r", "2", "2"), ("f", "4", "3")]:
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code, order]
        seen.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(seen) == 1


def test_separator_outside_the_vocabulary_is_refused() -> None:
    import json

    with pytest.raises(InputError, match="not in the vocabulary"):
        Tokenizer(json.loads(TRAINED.to_json()), None, "<none>")
