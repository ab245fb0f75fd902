"""Reasoning in every known format, whole, cut, without its opening, behind other text: never in the answer."""

from __future__ import annotations

import random

import pytest

from megadocs.generate.reasoning import split_reasoning

PLAN, ANSWER = "Okay, the user wants a rewrite.\nFirst the plan.", "The article itself.\n\nIt has two paragraphs."

#: name -> what stands before, between and behind reasoning and answer.
FORMATS = {
    "think": ("<think>\n", "\n</think>\n\n", ""),
    "thinking": ("<thinking>", "</thinking>", ""),
    "reasoning": ("<reasoning>", "</reasoning>\n", ""),
    "thought": ("<thought>", "</thought>\n", ""),
    "answer": ("<think>", "</think>\n<answer>", "</answer>"),
    "response": ("<think>", "</think><response>", "</response>"),
    "seed": ("<seed:think>", "</seed:think>", ""),
    "longcat": ("<longcat_think>", "</longcat_think>", ""),
    "attributes": ('<think duration="3">', "</think>", ""),
    "blanks": ("< think >", "< / think >", ""),
    "escaped": ("&lt;think&gt;", "&lt;/think&gt;", ""),
    "full width": ("＜think＞", "＜/think＞", ""),
    "upper case": ("<THINK>", "</THINK>", ""),
    "magistral": ("[THINK]", "[/THINK]", ""),
    "kimi": ("◁think▷", "◁/think▷", ""),
    "medgemma": ("<unused94>thought\n", "<unused95>", ""),
    "gemma": ("<|channel>thought\n", "<channel|>", ""),
    "openthinker": (*("<|begin_of_thought|>", "<|end_of_thought|>\n\n<|begin_of_solution|>", "<|end_of_solution|>"),),
    "command": ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>", "<|END_RESPONSE|>"),
    "harmony": (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|return|>",
    ),
    "harmony with a tool": (
        "<|channel|>commentary to=functions.search <|constrain|>json<|message|>",
        "<|call|><|start|>assistant<|channel|>final<|message|>",
        "",
    ),
    "harmony without its tokens": ("analysis", "assistantfinal", ""),
    "granite": ("Here is my thought process:\n", "\nHere is my response:\n", ""),
}
#: Those whose end alone shows that there was reasoning.
SHOWN_BY_THEIR_END = [name for name in FORMATS if name != "granite"]


@pytest.mark.parametrize("name", FORMATS)
def test_whole(name: str) -> None:
    before, between, behind = FORMATS[name]
    text, reasoning = split_reasoning(f"{before}{PLAN}{between}{ANSWER}{behind}")
    assert text.strip() == ANSWER
    assert reasoning == PLAN


@pytest.mark.parametrize("name", SHOWN_BY_THEIR_END)
def test_without_its_opening(name: str) -> None:
    _, between, behind = FORMATS[name]
    text, reasoning = split_reasoning(f"{PLAN}{between}{ANSWER}{behind}")
    assert text.strip() == ANSWER
    assert reasoning == PLAN


@pytest.mark.parametrize("name", FORMATS)
def test_cut_while_it_thinks(name: str) -> None:
    text, reasoning = split_reasoning(FORMATS[name][0] + PLAN, finished=False)
    assert text.strip() == ""
    assert reasoning == PLAN


@pytest.mark.parametrize("name", [name for name in SHOWN_BY_THEIR_END if name != "harmony without its tokens"])
def test_behind_other_text(name: str) -> None:
    before, between, behind = FORMATS[name]
    text, reasoning = split_reasoning(f"Sure. {before}{PLAN}{between}{ANSWER}{behind}")
    assert text.strip() == ANSWER
    assert PLAN in reasoning


@pytest.mark.parametrize(
    "text, answer",
    [
        ("First I plan.\n</think>\n\nThe piece.", "The piece."),
        ("\n\n<think>\n\n</think>\n\nThe piece.", "The piece."),
        ("<think>a</think> b <think>c</think> The piece.", "The piece."),
        ("<think>a <think> b </think> c </think>The piece.", "The piece."),
        ("a</think>b</think>The piece.", "The piece."),
        ("The piece.<think>and now", ""),
        ("<think>a</think>", ""),
        ("<think/>The piece.", "The piece."),
        ("We plan.<|end|><|start|>assistant<|channel|>final<|message|>The piece.", "The piece."),
        ("analysisWe plan.assistantanalysisMore.assistantfinalThe piece.", "The piece."),
        ("analysisWe plan", ""),
        ("analysis我们先计划assistantfinal文章", "文章"),
        ("finalThe piece.", "The piece."),
        ("<|start|>assistant<|message|>The piece.<|end|>", "The piece."),
        ("<|channel|>final<|message|><think>a</think>The piece.", "The piece."),
    ],
)
def test_odd_forms(text: str, answer: str) -> None:
    assert split_reasoning(text)[0].strip() == answer


@pytest.mark.parametrize(
    "text",
    [
        "The article. It has <b>tags</b>, a < b, [links] and </p>.",
        "Models write their plan between `<think>` and `</think>`.",
        "analysis of the text follows. The assistant's final words were few.",
        "Analysis: the final report. Think of it.",
        "final words",
        "We think, the thinker thinks <thinker>.",
        "An assistant finalised it.",
        "a <| b |> c <|im_end|>",
        "",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert split_reasoning(text) == (text, "")


def test_a_closing_tag_that_the_limit_cut() -> None:
    assert split_reasoning("I plan and plan.\n</thi", finished=False) == ("", "I plan and plan.")
    assert split_reasoning("x < y and </p", finished=False) == ("x < y and </p", "")


_PLAN_WORDS = ["plan", "Okay,", "user\n", "wants", "思考", "<b>", "x < y", "'quoted'", "-", "3.", "`code`", "[a]"]
_ANSWER_WORDS = ["harbour", "Winter", "boats.\n\n", "城市", "<i>", "a > b", "1887", "[b]", "ice;", "“ice”"]
_NOISE = [*"<>/|`[]◁▷&;\n ", "<think>", "</think>", "think", "<|channel|>", "<|message|>", "assistantfinal", "analysis"]


def scripted(rng: random.Random) -> tuple[str, str, bool]:
    """A reply with reasoning in one of the formats, its answer, and whether it was not cut."""
    name = rng.choice(list(FORMATS))
    before, between, behind = FORMATS[name]
    plan = "We " + " ".join(f"{rng.choice(_PLAN_WORDS)} PLAN" for _ in range(rng.randrange(1, 12)))
    answer = "Answer " + " ".join(rng.choice(_ANSWER_WORDS) for _ in range(rng.randrange(1, 12))) + " end."
    if name in SHOWN_BY_THEIR_END and rng.random() < 0.3:
        before = ""
    elif name in SHOWN_BY_THEIR_END and name != "harmony without its tokens" and rng.random() < 0.3:
        before = f"Sure PLAN. {before}"
    if before and rng.random() < 0.2:  # cut while it thinks
        return before + plan, "", False
    blank = rng.choice(["", "\n", "  ", "\n\n"])
    return f"{blank}{before}{plan}{between}{answer}{behind if rng.random() < 0.8 else ''}", answer, True


def check_replies(count: int, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(count):
        reply, answer, finished = scripted(rng)
        text, reasoning = split_reasoning(reply, finished)
        assert text.strip() == answer.strip(), reply
        assert "PLAN" in reasoning, reply
        assert "PLAN" not in text, reply
        mangled = list(reply)
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(mangled) + 1)
            mangled[place : place + rng.randrange(4)] = rng.choice(_NOISE)
        broken = "".join(mangled)
        text, reasoning = split_reasoning(broken, finished)
        assert text in broken or "<|message|>" in broken, broken  # a piece of the reply, nothing made up


def test_mutated_replies() -> None:
    check_replies(4000, seed=5)


@pytest.mark.faults
def test_a_hundred_thousand_mutated_replies() -> None:
    check_replies(100_000, seed=6)
