from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from megadocs.errors import DamagedError
from megadocs.generate.ledger import HEAD_DTYPE
from megadocs.generate.records import (
    FLAG_BITS,
    EarlierReply,
    GenerationRecord,
    clean_unicode,
    decode_record,
    flag_names,
    with_flags,
)

RECORD = GenerationRecord(
    identity="0123456789abcdef0123456789abcdef",
    document_id="d\u2028\x00é",
    kind="thought",
    generation=3,
    num_generations=4,
    style="latent_thought@1",
    status="rejected",
    split_character=17,
    text="zwei\r\n\x00drei\ufeff",
    reasoning="hm",
    finish_reason="length",
    flags=("empty", "truncated"),
    prompt_tokens=2**31,
    new_tokens=7,
    cached_tokens=5,
    spent_tokens=99,
    attempts=4,
    seed=2**31 - 1,
    error="quality",
    message="why",
    reply=("Here is the text:\nzwei", "hm"),
    earlier=(EarlierReply(0, "one", "", "stop", 3, 4, 0), EarlierReply(2, "\x00", "r", "length", 3, 4, 1)),
    basis=2**63 - 1,
)

#: A record as version 1 wrote it: no basis in its head, neither `reply` nor `earlier` in its body.
VERSION_1 = bytes.fromhex("010123456789abcdef0123456789abcdef000000" + "02000000" + "05000000" * 3 + "0100") + (
    b'{"attempts":1,"document_id":"d","error":null,"finish_reason":"length","flags":["truncated"],"generation":0,'
    b'"kind":"rephrase","message":null,"num_generations":2,"num_parts":1,"part":0,"reasoning":"","seed":7,'
    b'"spent_tokens":10,"split_character":null,"style":"wikipedia@1","text":"t"}'
)


def test_records_of_version_1_are_read() -> None:
    record = decode_record(VERSION_1)
    assert (record.status, record.text, record.flags, record.attempts) == ("ok", "t", ("truncated",), 1)
    assert (record.reply, record.earlier, record.basis) == (None, (), 0)
    assert decode_record(record.encode()) == record  # and can be written in the form of today


def test_round_trip() -> None:
    assert decode_record(RECORD.encode()) == RECORD
    empty = GenerationRecord("0" * 32, None, "sample", 0, 1, "s@1", "ok")
    assert decode_record(empty.encode()) == empty


def test_numpy_reads_the_same_head() -> None:
    head = np.frombuffer(RECORD.encode()[: HEAD_DTYPE.itemsize], dtype=HEAD_DTYPE)[0]
    assert (int(head["high"]), int(head["low"])) == (0x0123456789ABCDEF, 0x0123456789ABCDEF)
    assert [int(head[name]) for name in ("status", "error", "prompt", "new", "cached", "attempts")] == [
        1,
        11,
        2**31,
        7,
        5,
        4,
    ]
    assert flag_names(int(head["flags"])) == ["empty", "truncated"]


def test_codes_never_change() -> None:
    assert list(FLAG_BITS.values()) == list(range(len(FLAG_BITS)))
    assert RECORD.encode()[:20].hex() == "020123456789abcdef0123456789abcdef010b03"


def test_foreign_frames_are_refused() -> None:
    frame = RECORD.encode()
    for bad in (b"", frame[:20], b"\x03" + frame[1:], frame[:-1] + b',"x":1}'):
        with pytest.raises(DamagedError):
            decode_record(bad)


def test_every_field_is_stored() -> None:
    for item in dataclasses.fields(GenerationRecord):
        assert getattr(decode_record(RECORD.encode()), item.name) == getattr(RECORD, item.name)


def test_lone_surrogates_are_replaced_and_reported() -> None:
    assert clean_unicode("a\ud800b") == ("a\ufffdb", True)
    assert clean_unicode("a\U0001f600é\x00") == ("a\U0001f600é\x00", False)


def test_every_text_field_keeps_half_a_character() -> None:
    """A model cut off in the middle of an emoji, a file name that is no UTF-8, a server's message."""
    half = "a\ud83d"
    texts = {item.name: half for item in dataclasses.fields(RECORD) if isinstance(getattr(RECORD, item.name), str)}
    texts = {name: text for name, text in texts.items() if name not in ("identity", "status", "error")}
    record = dataclasses.replace(
        RECORD, **texts, reply=(half, half), earlier=(EarlierReply(0, half, half, half, 3, 4, 0),)
    )
    assert decode_record(record.encode()) == record


def test_with_flags_sorts_and_dedupes() -> None:
    assert with_flags(RECORD, "echo", "empty").flags == ("echo", "empty", "truncated")
