"""What the answer says of tuning."""

from megadocs.analysis import tuning_sentences


def certificate(kind="interior", edges=(), num_trials=9, **setting):
    return {
        "kind": kind,
        "edges": list(edges),
        "num_trials": num_trials,
        "setting": setting or {"train.real_epochs": 8},
    }


def results(searches, *, num_documents=40, num_tokens=9_000):
    arms = [
        {
            "arm": arm,
            "kind": "real" if "real" in arm else "synthetic",
            "settings": {"learning_rate": "0.01"},
            "planned_real_epochs": epochs,
        }
        for arm, epochs in (("real_only", 8), ("real_2x", 4), ("simple", 4), ("stitched", 4.0), ("other", 2))
    ]
    validation = {"set": "validation", "num_documents": num_documents, "num_tokens": num_tokens}
    return {
        "arms": [*arms, {"arm": "gone", "kind": "missing", "seeds": []}],
        "sets": [{"set": "test", "curve": [{"arm": "real_only"}, {"arm": "real_2x"}]}, validation],
        "searches": [{"search": "own", "arm": arm, "certificate": found} for arm, found in searches.items()],
    }


def test_certificates_edges_and_what_was_not_tuned():
    edge = certificate("edge", ["train.weight_decay = 51.2, the highest value"], 14)
    found = {
        "real_only": certificate(),
        "real_2x": edge,
        "simple": certificate("incomplete", **{"train.real_epochs": 4}),
    }
    assert tuning_sentences(results(found)) == [
        "Tuned here on validation: real_only (9 trials, best of its neighbours), real_2x (14 trials, best of its "
        "neighbours, on an edge) and simple (9 trials, no certificate: the budget ended, or a neighbour failed).",
        "On the edge of the grid: real_2x (train.weight_decay = 51.2, the highest value); a better setting may lie "
        "beyond it, and every multiplier leans on these arms.",
        "Not tuned, with the setting of simple: stitched.",
        "Not tuned: other.",
    ]


def test_nothing_tuned_is_said():
    (sentence,) = tuning_sentences(results({}))
    assert sentence.startswith("No arm was tuned in this workspace")


def test_a_small_validation_set_is_said():
    assert "small for tuning (8 documents" in tuning_sentences(results({"simple": certificate()}, num_documents=8))[-1]
