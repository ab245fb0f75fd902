"""The audit against planted leaks, copies, twins and foreign text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from megadocs.documents import Document
from megadocs.generate import export_generations, plan_requests
from megadocs.generate.audit import audit_generations, write_audit
from megadocs.generate.languages import changed_language, guess_language, guess_script
from megadocs.generate.ledger import Ledger
from megadocs.generate.runner import build_record

from .conftest import make_config, make_documents

ENGLISH = "The harbour was full of ice in that winter, and the ships waited for the first warm wind of spring."
GERMAN = "Der Hafen war in diesem Winter voller Eis, und die Schiffe warteten auf den ersten warmen Wind."
FINNISH = "Satama oli sinä talvena täynnä jäätä ja laivat odottivat, että se murtuu, mutta kevät ei tullut."


def words(start: int, count: int) -> str:
    return " ".join(f"w{number}" for number in range(start, start + count))


def test_planted_texts_are_found(tmp_path: Path) -> None:
    held_out = [Document("v0", words(0, 30)), Document("v1", words(1000, 30)), Document("v2", words(2000, 30))]
    train = [replace(document, text=document.text) for document in make_documents(2)]
    train.append(Document("leaky", words(0, 20) + " tail"))  # 8 of v0's 18 13-grams, in real text
    config = make_config()
    texts = {
        ("doc-0", 0): words(1000, 30),  # all 18 13-grams of v1, made by the generator
        ("doc-0", 1): words(1000, 30),  # ... twice: a sibling
        ("doc-1", 0): train[1].text,  # a copy of its source
        ("doc-1", 1): GERMAN,
        ("leaky", 0): words(0, 14),  # 2 of v0's, which stand in real text already
    }
    requests = plan_requests(config, "rephrase", train)
    with Ledger(tmp_path / "l") as ledger:
        for request in requests:
            text = texts.get((request.document_id, request.generation))
            if text is not None:
                ledger.append(replace(build_record(request, "ok", attempts=1), text=text, new_tokens=7))
    export_generations(requests, tmp_path / "l", tmp_path / "r.parquet")
    audit = audit_generations({"rephrase": tmp_path / "r.parquet"}, train, {"validation": held_out})
    overlap = audit["overlap"]["validation"]
    assert overlap["num_ngrams"] == 3 * 18
    assert overlap["ngram_share"] == {
        "real": pytest.approx(8 / 54),
        "synthetic": pytest.approx(20 / 54),
        "synthetic_only": pytest.approx(18 / 54),
    }
    assert overlap["documents_touched"] == {"real": 1, "synthetic": 2, "synthetic_only": 1}
    task = audit["tasks"]["rephrase"]
    assert task["num_texts"] == 5
    assert task["flags"] == {"echo": 1, "identical": 1, "sibling": 1}
    assert task["sibling_overlap"]["count"] == 2
    assert task["sibling_overlap"]["mean"] == 0.5
    assert task["source_copy"]["share_above_0.8"] == pytest.approx(2 / 5)  # doc-1's copy and leaky's
    assert task["top_openings"][0] == {"opening": "w1000 w1001 w1002 w1003", "share": 2 / 5}
    write_audit(audit, tmp_path / "audit.json")
    assert json.loads((tmp_path / "audit.json").read_text()) == audit


def test_languages_and_scripts() -> None:
    assert [guess_language(text) for text in (ENGLISH, GERMAN, FINNISH)] == ["English", "German", "Finnish"]
    assert guess_language("w1 w2") is None
    scripts = [guess_script(text) for text in (ENGLISH, "Привет, мир", "漢字かな", "123")]
    assert scripts == ["LATIN", "CYRILLIC", "CJK", None]
    assert changed_language(FINNISH, ENGLISH)
    assert changed_language(ENGLISH, "Привет, мир, как дела")
    assert not changed_language(ENGLISH, ENGLISH[::2])
    assert not changed_language("xyz " * 50, ENGLISH)


def test_near_duplicates_of_held_out_documents_are_named() -> None:
    words = [[f"{number}w{place}" for place in range(40)] for number in range(4)]
    train = [Document(f"t{number}", " ".join(["edition", *text])) for number, text in enumerate(words[:3])]
    held_out = {
        "validation": [Document("v", " ".join(words[1][:30])), Document("w", " ".join(words[3]))],
        "test": [Document("x", " ".join([*words[2][:14], *words[3][:20]]))],
    }
    found = audit_generations({}, train, held_out)["near_duplicates"]
    assert found == [{"set": "validation", "held_out": "v", "train": "t1", "share": 1.0}]
