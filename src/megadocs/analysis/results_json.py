"""The results file: one JSON document with a versioned schema, the same bytes whenever the numbers are the same.

JSON has no NaN, and a NaN must neither vanish nor become 0: non-finite numbers are written as the strings "NaN",
"Infinity" and "-Infinity". Floats keep ten significant digits, which is far below any interval here and above the last
digits that differ between linear-algebra libraries.

Schema 1, by key (docs/statistics.md says how each number is made):
`schema`, `schema_version`, `name`, `confidence`, `num_bootstrap`, `bootstrap_seed`, `baseline`, `headline` {set, mode},
`answer` [sentences], `covers` {what each interval covers}, `arms` [{arm, kind, seeds, facts averaged over seeds}],
`other_students` {arm: what differs from the baseline's}, `runs` [facts and losses per run],
`missing` [{arm, seed, reason}], `more_tokens` [{arm, train_tokens, ratio}],
`sets` [{set, mode, counts, `losses`, `differences`, `pairs`, `curve`, `data_efficiency`, `null_controls` [names],
`strongest_control`, `controls` [{arm, beats, p_holm, gain_share, gain_share_interval (null: noise is not measured;
infinite: the gain is not told from 0), against}]; the first, the headline,
also `laws`, `data_efficiency_by_law`, `same_arm`, `seeds_needed`}], `warnings` [text].

The pipeline adds what is not an analysis of losses: `ensembles` [sizes on every set] and `ensemble_laws`, `positions`
[loss by position of each additional set, see `analysis.positions`], `benchmarks` {tasks, chance, rows, scores} or null,
`searches` [{certificate, cost, trials}], `audit` or null, `generations` and `streams` [accounts], `recipes` [names],
`left_out` {arm: why}, `missing_reasons`, `near_duplicates` {`across` and `together`: [{documents, share}]},
`floor` {order, set, num_targets, `models` [{text, num_tokens, num_all_tokens, loss}]}: n-gram models on the headline's
targets, of the real text and with each kind of synthetic rows added; or null.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from megadocs.errors import AnalysisError, InputError

SCHEMA = "megadocs.results"
SCHEMA_VERSION = 1
_REMEDY = "run `megadocs report` on the workspace: it writes results.json anew"
_LISTS = ("answer", "warnings", "sets", "arms", "runs")
#: What every entry of a list must have for the tables to be read off it; none of these lists is empty.
_KEYS = {
    "sets": ("set", "mode", "losses", "differences", "pairs", "curve", "data_efficiency"),
    "arms": ("arm", "kind", "seeds"),
    "runs": ("arm", "seed", "losses"),
}


def json_form(value: Any) -> Any:
    """Dataclasses, mappings, sequences and numbers as plain JSON values; see the module for floats."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_form(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): json_form(item) for key, item in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Sequence):
        return [json_form(item) for item in value]
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return float(f"{number:.10g}")


def number_of(value: Any) -> float:
    """The float that `json_form` wrote; raises `AnalysisError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise AnalysisError(f"not a number in the results: {value!r}", remedy=_REMEDY)
    try:
        return float(value)
    except ValueError as error:
        raise AnalysisError(f"not a number in the results: {value!r}", remedy=_REMEDY) from error


def dump_results(results: Mapping[str, Any]) -> bytes:
    """The results file's bytes: UTF-8, indented, final newline."""
    return (json.dumps(results, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode("utf-8")


def parse_results(data: bytes, where: str) -> dict[str, Any]:
    """Read a results file.

    Raises:
        InputError: not JSON, not a results file, of another schema, or without one of its parts.
    """
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except ValueError as error:
        raise InputError(f"the results are not JSON: {error}", where=where, remedy=_REMEDY) from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise InputError("this is not a results file of megadocs", where=where, remedy=_REMEDY)
    if value.get("schema_version") != SCHEMA_VERSION:
        found = value.get("schema_version")
        raise InputError(
            f"results of schema {found!r}; this version reads {SCHEMA_VERSION}", where=where, remedy=_REMEDY
        )
    for name in _LISTS:
        if not isinstance(value.get(name), list):
            raise InputError(f"the results lack {name!r}", where=where, remedy=_REMEDY)
    lacking = [key for name, keys in _KEYS.items() for row in value[name] or [None] for key in _lacking(row, keys)]
    if lacking or not all(isinstance(line, str) for line in value["answer"] + value["warnings"]):
        what = f"an entry lacks {lacking[0]!r}" if lacking else "a sentence is no text"
        raise InputError(f"the results are not whole: {what}", where=where, remedy=_REMEDY)
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _lacking(row: Any, keys: Sequence[str]) -> list[str]:
    """The keys that an entry of the results does not have."""
    return [key for key in keys if not isinstance(row, dict) or key not in row]
