"""The gates: what fires, what does not, and what the policies make of it."""

from __future__ import annotations

import random

import pytest

from megadocs.generate.engines.protocol import Reply
from megadocs.generate.gates import copies_and_repeats, ends_in_loop, judge_reply
from megadocs.generate.near_copies import Comparable
from megadocs.recipe import GatesConfig

SOURCE = " ".join(f"word{number}" for number in range(100))
GOOD = "The harbour froze early that winter, so the town lived on the grain it had stored in autumn."
GATES = GatesConfig()


def judge(
    text: str, finish: str = "stop", reasoning: str = "", gates: GatesConfig = GATES
) -> tuple[str, tuple[str, ...], str]:
    judgement = judge_reply(Reply(text, finish, 1, 1, reasoning=reasoning), SOURCE, gates)
    return judgement.text, judgement.flags, judgement.verdict


def test_a_good_reply_passes_unflagged() -> None:
    assert judge(f"  {GOOD}\r\nSecond line.\n") == (f"{GOOD}\nSecond line.", (), "accept")


@pytest.mark.parametrize(
    "text, finish, flags, verdict",
    [
        ("", "stop", ("empty",), "retry"),
        (" \n\t ", "stop", ("empty",), "retry"),
        (GOOD, "length", ("truncated",), "accept"),
        ("", "content_filter", ("filtered", "empty"), "reject"),
        ("I'm sorry, but I can't help with that.", "stop", ("refusal",), "accept"),
        ("As an AI language model, I do not have opinions.", "stop", ("refusal",), "accept"),
        (SOURCE, "stop", ("echo",), "accept"),
        ("and so on " * 30, "stop", ("repetition",), "accept"),
        (f"{GOOD}<|im_end|>", "stop", ("control_tokens",), "accept"),
        (f"{GOOD}\ud800", "stop", ("invalid_unicode",), "accept"),
    ],
)
def test_what_fires(text: str, finish: str, flags: tuple[str, ...], verdict: str) -> None:
    assert judge(text, finish)[1:] == (flags, verdict)


@pytest.mark.parametrize(
    "opening",
    [
        "Here is the article:\n\n",
        "Here's a rewritten version of the passage in clear English:\n",
        "Sure! Here is the rewritten passage: ",
        "**Here is the encyclopedia article:**\n\n",
        "Certainly. Below is the text you asked for:\n",
        "The following is an encyclopedia article based on the passage:\n",
    ],
)
def test_preambles_are_dropped(opening: str) -> None:
    assert judge(opening + GOOD) == (GOOD, ("preamble",), "accept")
    assert judge(opening + GOOD, gates=GatesConfig(strip_preamble=False))[0] == (opening + GOOD).strip()


@pytest.mark.parametrize(
    "text",
    [
        "Here is where the river meets the sea: a wide grey bay.",
        "This is the story of a town: it froze.",
        "The article: a short history.",
        "Here lies the harbour.",
    ],
)
def test_openings_that_are_text_stay(text: str) -> None:
    assert judge(text)[:2] == (text, ())


def test_a_preamble_alone_is_kept() -> None:
    assert judge("Here is the article:")[0] == "Here is the article:"


def test_reasoning_is_kept_apart() -> None:
    for text, field in ((f"<think>why\nnot</think>\n{GOOD}", ""), (GOOD, "why\nnot")):
        judgement = judge_reply(Reply(text, "stop", 1, 1, reasoning=field), SOURCE, GATES)
        assert (judgement.text, judgement.reasoning, judgement.flags) == (GOOD, "why\nnot", ("reasoning",))
    cut_off = judge_reply(Reply("<think>never ends", "length", 1, 1), SOURCE, GATES)
    assert (cut_off.text, cut_off.reasoning) == ("", "never ends")
    assert cut_off.flags == ("reasoning", "truncated", "empty")


def test_policies() -> None:
    assert judge(SOURCE, gates=GatesConfig(echo="retry"))[2] == "retry"
    assert judge(SOURCE, gates=GatesConfig(echo="reject"))[2] == "reject"
    assert judge(SOURCE, "length", gates=GatesConfig(echo="retry", truncated="reject"))[2] == "reject"
    assert judge("", gates=GatesConfig(empty="accept"))[2] == "accept"


def test_loops() -> None:
    assert ends_in_loop("x" * 100)
    assert ends_in_loop(GOOD + " again and again," * 4)
    assert ends_in_loop(GOOD + ("a longer piece of text that comes back, " * 5))
    assert not ends_in_loop(GOOD)
    assert not ends_in_loop(GOOD + " ha ha ha ha")  # under 60 characters
    assert not ends_in_loop("")
    rng = random.Random(5)
    for _ in range(300):
        piece = "".join(rng.choice("ab ") for _ in range(rng.randrange(1, 30)))
        copies = rng.randrange(1, 8)
        text = GOOD + "#" + piece * copies
        assert ends_in_loop(text) == brute_force(text), (piece, copies)


def brute_force(text: str) -> bool:
    tail = text[-2000:]
    for period in range(1, len(tail) // 4 + 1):
        copies = max(4, -(-60 // period))
        if copies * period <= len(tail) and tail.endswith(tail[-period:] * copies):
            return True
    return False


def test_copies_and_repeats_agree_with_counting_all_runs() -> None:
    rng = random.Random(9)
    for trial in range(400):
        source = [f"s{number}" for number in range(rng.randrange(8, 120))]
        words: list[str] = []
        while len(words) < rng.randrange(1, 150):  # pieces of the source, of the text so far, and new words
            piece = rng.choice((source, words or source, [f"n{trial}x{rng.randrange(10**9)}" for _ in range(20)]))
            start = rng.randrange(len(piece))
            words += piece[start : start + rng.randrange(1, 40)]
        runs = [tuple(words[start : start + 8]) for start in range(len(words) - 7)]
        in_source = {tuple(source[start : start + 8]) for start in range(len(source) - 7)}
        distinct = set(runs)
        expected = (
            len(distinct) >= 8 and len(distinct & in_source) > 0.6 * len(distinct),
            len(runs) - len(distinct) > 0.5 * len(runs),
        )
        assert copies_and_repeats(" ".join(words), " ".join(source), 0.6) == expected


SCRIPTS = {
    "Chinese": "那年冬天港口很早就结冰了，船只在外面等待冰层破裂，城里"
    "的人靠自己的粮食过活，直到三月第一批船只驶进港口为止。",
    "Japanese": "その冬、港は早くから凍りついた。船は氷が割れるのを外で"
    "待ち、町は自分たちの穀物で春まで暮らしたという話である。",
    "Korean": "그해 겨울 항구는 일찍 얼었다 배들은 얼음이 깨지기를 "
    "밖에서 기다렸고 마을은 봄까지 자기들의 곡식으로 살았다",
    "Thai": "ฤดูหนาวปีนั้นท่าเรือกลายเป็นน้ำแข็งเร็วกว่าปกติ เรือจอดรออยู่ข้างนอกจนกว่าน้ำแข็งจะแตก และชาวเมืองอาศัยข้าวของตนเอง",
    "Lao": "ລະດູໜາວປີນັ້ນທ່າເຮືອກາຍເປັນນໍ້າກ້ອນໄວກວ່າປົກກະຕິ ເຮືອຈອດລໍຖ້າຢູ່ຂ້າງນອກຈົນກວ່ານໍ້າກ້ອນຈະແຕກ",
    "Burmese": "ထိုနှစ်ဆောင်းရာသီတွင်ဆိပ်ကမ်းသည်စောစီးစွာရေခဲခဲ့သည်သင်္ဘောများသည်ရေခဲကွဲသည်အထိအပြင်တွင်စောင့",
    "Khmer": "រដូវរងាឆ្នាំនោះកំពង់ផែបានកកយ៉ាងឆាប់រហ័សកប៉ាល់បានរង់ចាំនៅខាងក្រៅរហូតដល់ទឹកកកបែកហើយទីក្រុងរស់ន",
    "Russian": "Гавань в ту зиму замерзла рано, корабли ждали снаружи, пока лёд не треснет, а город жил зерном.",
    "English": "The harbour froze early that winter. Ships waited outside for the ice to break.",
}


@pytest.mark.parametrize("source", SCRIPTS.values(), ids=SCRIPTS)
def test_every_script_is_seen_alike(source: str) -> None:
    """Verbatim copies, loops of what does not end the text, and near copies; and other texts of the script are none."""
    other = source[::-1]
    echo = judge_reply(Reply(source + " 7", "stop", 1, 1), source, GATES)
    assert "echo" in echo.flags
    repeated = judge_reply(Reply(f"{source} " * 4 + other, "stop", 1, 1), "", GATES)
    assert "repetition" in repeated.flags
    clean = judge_reply(Reply(other, "stop", 1, 1), source, GATES)
    assert not {"echo", "repetition"} & set(clean.flags)
    near = Comparable.of(source + " 7")
    assert Comparable.of(source).is_near_copy(near)
    assert not Comparable.of(other).is_near_copy(near)
