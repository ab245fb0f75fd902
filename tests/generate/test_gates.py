"""The gates: what fires, what does not, and what the policies make of it."""

from __future__ import annotations

import random

import pytest

from megadocs.generate.engines.protocol import Reply
from megadocs.generate.gates import Judgement, copies_and_repeats, ends_in_loop, judge_reply, verdict_of
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


def test_a_mark_that_the_limit_cut_in_two_ends_the_reasoning() -> None:
    text = "I plan this.</thi"
    cut = Judgement("", "I plan this.", ("reasoning", "truncated", "empty"), "retry")
    assert judge_reply(Reply(text, "length", 1, 1), SOURCE, GATES) == cut
    assert judge_reply(Reply(text, "stop", 1, 1), SOURCE, GATES) == Judgement(text, "", (), "accept")


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


def test_a_whole_judgement_with_every_flag_in_order() -> None:
    asked = []

    def is_like_sibling(text: str) -> bool:
        asked.append(text)
        return True

    text = f"<think>why</think>Here is the article:\n\n{SOURCE} [INST]\r\n{'and so on ' * 200}\ud800"
    reply = Reply(text, "length", 1, 1, reasoning=" plan\udc00 \n")
    kept = f"{SOURCE} [ INST]\n{'and so on ' * 200}\ufffd".strip()
    flags = ("invalid_unicode", "reasoning", "preamble", "control_tokens", "truncated", "echo", "repetition", "sibling")
    gates = GatesConfig(sibling="retry")
    found = judge_reply(reply, SOURCE, gates, is_like_sibling)
    assert found == Judgement(kept, "plan\ufffd\nwhy", flags, "retry")
    assert asked == [kept]
    assert judge_reply(reply, SOURCE, gates) == Judgement(kept, "plan\ufffd\nwhy", flags[:-1], "accept")


def test_an_empty_text_has_no_siblings_and_others_may_differ() -> None:
    def never(text: str) -> bool:
        raise AssertionError("an empty text is compared with nothing")

    assert judge_reply(Reply("", "stop", 1, 1), SOURCE, GATES, never) == Judgement("", "", ("empty",), "retry")
    assert judge_reply(Reply(GOOD, "stop", 1, 1), SOURCE, GATES, lambda _: False) == Judgement(GOOD, "", (), "accept")


def test_the_strictest_policy_of_the_flags() -> None:
    gates = GatesConfig(echo="reject", refusal="retry", empty="accept", filtered="retry")
    assert verdict_of([], gates) == "accept"
    assert verdict_of(["empty", "reasoning", "preamble", "invalid_unicode"], gates) == "accept"
    assert verdict_of(["refusal", "empty"], gates) == verdict_of(["filtered"], gates) == "retry"
    assert verdict_of(["refusal", "echo"], gates) == verdict_of(["echo", "refusal"], gates) == "reject"


THINGS = (
    "article passage text version rewrite rewriting summary tutorial table dialogue questions answers thought thoughts "
    "explanation paragraph paragraphs document response translation"
)


@pytest.mark.parametrize(
    "opening",
    [
        *(f"Here is the {thing} you want:" for thing in THINGS.split()),
        *(f"{yes}{mark} here is the text:" for yes in ("Sure", "certainly", "OF COURSE", "okay", "Ok", "Absolutely")
          for mark in ("", ",", "!", "...:")),
        *(f"{start} my text:" for start in ("Here's", "Here’s", "Here are", "Here follows", "Below is",
                                            "The following is", "This is")),
        "\n  **Here is the text:** \t\n\n",
        f"Here is {'x' * 118} text {'y' * 79}:",
    ],
)  # fmt: skip
def test_every_form_of_an_opening_line(opening: str) -> None:
    assert judge(opening + GOOD) == (GOOD, ("preamble",), "accept")


@pytest.mark.parametrize(
    "opening",
    [
        "Here is the story:",
        "Surely here is the text:",
        "Sure here lies the text:",
        "So here is the text:",
        "Here is the\ntext:",
        "Here is: the text:",
        "Here is the text\n:",
        f"Here is {'x' * 120} text:",
        f"Here is the text {'y' * 80}:",
        "Here is context:",
        "This is textual:",
    ],
)
def test_lines_that_only_look_like_an_opening(opening: str) -> None:
    assert judge(opening + GOOD)[:2] == (opening + GOOD, ())


def test_one_opening_line_is_dropped() -> None:
    assert judge(f"Here is the text:\nHere is the article:\n{GOOD}")[0] == f"Here is the article:\n{GOOD}"


REFUSALS = [
    *(f"{who} {what} of that." for who in ("I'm", "I am", "I’m") for what in ("sorry", "afraid", "unable", "not able")),
    "Sorry, no.",
    *(f"I {what} do that." for what in ("cannot", "can't", "can’t", "won't", "won’t", "must decline")),
    "I apologize.",
    "I apologise.",
    "As an AI, no.",
    "Unfortunately, I have none.",
    '"*I CANNOT* say.',
]


@pytest.mark.parametrize("text", REFUSALS)
def test_every_form_of_a_refusal(text: str) -> None:
    assert judge(text) == (text, ("refusal",), "accept")


@pytest.mark.parametrize("text", ["So I cannot.", "Sorry he came.", "As an aide, no.", "I can do it.", "I am sad."])
def test_texts_that_only_look_like_a_refusal(text: str) -> None:
    assert judge(text) == (text, (), "accept")


def plain_words(start: int, count: int) -> list[str]:
    return [f"w{number}" for number in range(start, start + count)]


@pytest.mark.parametrize(
    ("num_copied", "num_new", "share", "is_echo"),
    [
        (15, 0, 0.9, True),  # eight runs, all copied
        (14, 0, 0.9, False),  # seven: too few to tell
        (15, 2, 0.8, False),  # exactly eight of ten
        (15, 2, 0.79, True),
        (15, 1, 0.8, True),  # eight of nine
        (25, 12, 0.6, False),  # 18 of 30
        (26, 12, 0.6, True),  # 19 of 31
    ],
)
def test_the_bounds_of_an_echo(num_copied: int, num_new: int, share: float, is_echo: bool) -> None:
    source = plain_words(0, 100)
    text = source[:num_copied] + plain_words(500, num_new)
    assert copies_and_repeats(" ".join(text), " ".join(source), share) == (is_echo, False)


@pytest.mark.parametrize(("num_runs", "repeats"), [(20, False), (21, True)])
def test_more_than_half_the_runs_are_repeats(num_runs: int, repeats: bool) -> None:
    """Ten words over and over have ten distinct runs."""
    text = (plain_words(0, 10) * 4)[: num_runs + 7]
    assert copies_and_repeats(" ".join(text), "", 0.8) == (False, repeats)


def test_short_texts_have_no_runs() -> None:
    for count in range(8):
        assert copies_and_repeats(" ".join(plain_words(0, count)), " ".join(plain_words(0, 50)), 0.1) == (False, False)


@pytest.mark.parametrize(
    ("piece", "copies", "is_loop"),
    [
        ("abcdefghijklmno", 4, True),  # sixty characters
        ("abcdefghijklmn", 4, False),  # 56
        ("abcdefghijklmn", 5, True),
        ("abcdefghijklmnopqrst", 3, False),  # sixty, and only three copies
        ("x", 60, True),
        ("x", 59, False),
        ("ab", 30, True),
        ("abc" * 33 + "d", 4, True),
    ],
)
def test_the_bounds_of_a_loop(piece: str, copies: int, is_loop: bool) -> None:
    assert ends_in_loop(piece * copies) is is_loop
    assert ends_in_loop("#" + piece * copies) is is_loop


def test_a_loop_lies_within_two_thousand_characters() -> None:
    rng = random.Random(1)
    for length, is_loop in ((500, True), (501, False)):
        piece = "".join(rng.choice("abcdefghij") for _ in range(length))
        assert ends_in_loop(piece * 5) is is_loop
