"""The results file: exact bytes, numbers that JSON does not have, and files that are not one."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest

from megadocs.analysis.results_json import dump_results, json_form, number_of, parse_results
from megadocs.errors import AnalysisError, InputError

REMEDY = "run `megadocs report` on the workspace: it writes results.json anew"
SET = {key: [] for key in ("set", "mode", "losses", "differences", "pairs", "curve", "data_efficiency")}
WHOLE = {
    "schema": "megadocs.results",
    "schema_version": 1,
    "answer": ["é."],
    "warnings": [],
    "sets": [SET],
    "arms": [{"arm": "a", "kind": "real", "seeds": [0]}],
    "runs": [{"arm": "a", "seed": 0, "losses": []}],
}


@dataclass
class Pair:
    left: float
    right: tuple


def test_values_become_plain_and_keep_ten_digits() -> None:
    value = {"a": Pair(1 / 3, (True, None, 2, "x")), 5: np.float64(2.5), "n": math.nan, "i": math.inf, "m": -math.inf}
    assert json_form(value) == {
        "a": {"left": 0.3333333333, "right": [True, None, 2, "x"]},
        "5": 2.5,
        "n": "NaN",
        "i": "Infinity",
        "m": "-Infinity",
    }
    assert json_form(123456789012.7) == 123456789000.0


def test_numbers_come_back() -> None:
    assert number_of(2) == 2.0
    assert math.isnan(number_of("NaN"))
    assert (number_of("Infinity"), number_of("-Infinity")) == (math.inf, -math.inf)
    for wrong in (True, None, "much", [1]):
        with pytest.raises(AnalysisError) as caught:
            number_of(wrong)
        assert (caught.value.what, caught.value.remedy) == (f"not a number in the results: {wrong!r}", REMEDY)


def test_bytes_are_utf8_indented_and_end_a_line() -> None:
    assert dump_results({"a": ["é"]}) == '{\n "a": [\n  "é"\n ]\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_results({"a": math.nan})


def test_a_whole_file_is_read() -> None:
    assert parse_results(dump_results(WHOLE), "here") == WHOLE


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"{", "the results are not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b'{"a": NaN}', "the results are not JSON: NaN is no JSON number"),
        (b"[]", "this is not a results file of megadocs"),
        (b'{"schema": "other"}', "this is not a results file of megadocs"),
        (json.dumps(WHOLE | {"schema_version": 2}).encode(), "results of schema 2; this version reads 1"),
        (json.dumps({**WHOLE, "sets": {}}).encode(), "the results lack 'sets'"),
        (json.dumps({**WHOLE, "sets": []}).encode(), "the results are not whole: an entry lacks 'set'"),
        (
            json.dumps({**WHOLE, "arms": [{"arm": "a", "kind": "real"}]}).encode(),
            "the results are not whole: an entry lacks 'seeds'",
        ),
        (json.dumps({**WHOLE, "runs": ["a"]}).encode(), "the results are not whole: an entry lacks 'arm'"),
        (json.dumps({**WHOLE, "answer": [1]}).encode(), "the results are not whole: a sentence is no text"),
        (json.dumps({**WHOLE, "warnings": [None]}).encode(), "the results are not whole: a sentence is no text"),
    ],
)
def test_what_is_no_results_file_says_why(data: bytes, what: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_results(data, "here")
    assert (caught.value.what, caught.value.where, caught.value.remedy) == (what, "here", REMEDY)


@pytest.mark.parametrize("name", ["answer", "warnings", "sets", "arms", "runs"])
def test_each_list_must_be_there(name: str) -> None:
    lacking = {key: value for key, value in WHOLE.items() if key != name}
    with pytest.raises(InputError, match=f"the results lack '{name}'"):
        parse_results(dump_results(lacking), "here")


@pytest.mark.parametrize("key", [*SET])
def test_each_part_of_a_set_must_be_there(key: str) -> None:
    lacking = {name: value for name, value in SET.items() if name != key}
    with pytest.raises(InputError, match=f"an entry lacks '{key}'"):
        parse_results(dump_results({**WHOLE, "sets": [SET, lacking]}), "here")
