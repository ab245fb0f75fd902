"""Records of six benchmarks in their own columns."""

from __future__ import annotations

import json

ARC = [
    {
        "id": f"Q{i}",
        "question": f"Which is hot {i}?",
        "choices": {"text": ["ice", "fire of the sun", "a stone"], "label": ["A", "B", "C"]},
        "answerKey": "ABC"[i % 3],
    }
    for i in range(6)
]
RECORDS = {
    "piqa": [
        {"goal": f"clean cup {i}", "sol1": "use a towel", "sol2": "throw it away at once", "label": i % 2}
        for i in range(6)
    ],
    "sciq": [
        {
            "support": " Water boils at one hundred degrees." if i else "",
            "question": f"What boils, number {i}?",
            "distractor1": "rock",
            "distractor2": "an iron bar",
            "distractor3": "gold",
            "correct_answer": "water",
        }
        for i in range(6)
    ],
    "arc_easy": ARC,
    "arc_challenge": ARC,
    "hellaswag": [
        {
            "activity_label": "Cooking",
            "ctx_a": f"A cook [step] stirs {i}.",
            "ctx_b": "he" if i else "",
            "endings": ["eats [title] it.", "flies  away.", "sits down.", "sings"],
            "label": str(i % 4),
        }
        for i in range(6)
    ],
    "winogrande": [
        {"sentence": f"Ann beat Bea {i} times as _ was faster.", "option1": "Ann", "option2": "Bea", "answer": "1"}
        for i in range(6)
    ],
}


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
