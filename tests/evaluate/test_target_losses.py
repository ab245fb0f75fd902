"""Losses and likeliest tokens of every average against float64, at logits of any size, whatever is asked for."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from megadocs.errors import InputError
from megadocs.evaluate import target_losses
from megadocs.evaluate.ensembles import build_averages
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.evaluate.target_losses import SINGLE, Average, check_members, position_losses
from numbered_model import NumberedModel

VOCAB = 97


def constant_members(tables: list[torch.Tensor]) -> list[ScoringModel]:
    return [ScoringModel.from_callable(lambda tokens, table=table: table.clone(), VOCAB) for table in tables]


@pytest.mark.parametrize("subsets", ["prefixes", "all"])
def test_losses_and_tops_of_every_average_equal_float64(subsets, monkeypatch):
    monkeypatch.setattr(target_losses, "MIN_CHUNK", 5)
    monkeypatch.setattr(target_losses, "CHUNK_LOGITS", 5 * VOCAB)
    generator = torch.Generator().manual_seed(0)
    tables = [4 * torch.randn(3, 8, VOCAB, generator=generator) + shift for shift in (0, 1e3, -1e3, 20)]
    tokens, positions = np.zeros((3, 8), dtype=np.int64), np.arange(24)
    stacked = torch.stack(tables).view(4, 24, VOCAB).double()
    targets = stacked.mean(dim=0).argmax(dim=-1).numpy()
    targets[::3] = 7
    averages = build_averages(4, subsets)
    random.Random(0).shuffle(averages)
    result = position_losses(constant_members(tables), averages, tokens, positions, targets, want_top=True)
    for average, nll, is_top in zip(averages, result.nll, result.is_top, strict=True):
        chosen = stacked[list(average.members)]
        if average.kind == "logits":
            log_p = torch.log_softmax(chosen.mean(dim=0), dim=-1)
        else:
            log_p = torch.softmax(chosen, dim=-1).mean(dim=0).log()
        expected = -log_p[torch.arange(24), torch.from_numpy(targets)].numpy()
        np.testing.assert_allclose(nll, expected, rtol=1e-5, atol=3e-4)  # logits of 1,000 have steps of 6e-5
        np.testing.assert_array_equal(is_top, log_p.argmax(dim=-1).numpy() == targets)
    assert result.is_top.any() and not result.is_top.all()


def test_impossible_tokens_certain_targets_and_nan():
    table = torch.zeros(1, 4, VOCAB)
    table[0, 0, 1:] = -torch.inf  # the target is certain
    table[0, 1, 5] = -torch.inf  # the target is impossible
    table[0, 2, 3] = torch.nan
    table[0, 3, 5] = -200.0  # as unlikely as float32 probabilities cannot be
    arguments = (np.zeros((1, 4), dtype=np.int64), np.arange(4), np.array([0, 5, 5, 5]))
    nll = position_losses(constant_members([table]), [SINGLE], *arguments).nll[0]
    assert nll[0] == 0
    assert nll[1] == np.inf
    assert np.isnan(nll[2])
    assert nll[3] == pytest.approx(200 + np.log(VOCAB - 1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_alone_has_the_same_bits_written_over_or_not(dtype):
    generator = torch.Generator().manual_seed(0)
    states, weight = torch.randn(2, 8, 12, generator=generator), torch.randn(VOCAB, 12, generator=generator)
    model = ScoringModel(lambda tokens: states, VOCAB, head_weight=weight, dtype=dtype)
    arguments = (np.zeros((2, 8), dtype=np.int64), np.arange(16), np.arange(16))
    kept = position_losses([model], [SINGLE], *arguments, want_top=True).nll
    for _ in range(2):
        np.testing.assert_array_equal(position_losses([model], [SINGLE], *arguments).nll, kept)


def model_of(vocab_size: int = VOCAB, **settings) -> ScoringModel:
    return ScoringModel(lambda tokens: torch.zeros(*tokens.shape, vocab_size), vocab_size, **settings)


@pytest.mark.parametrize(
    "models, averages, error",
    [
        ([], [SINGLE], "no model to score\n  to do: pass at least one"),
        (
            [model_of(5), model_of(3), model_of(5)],
            [SINGLE],
            "the members of an ensemble have different vocabularies: [3, 5]\n"
            "  to do: average only models that were trained with one tokenizer",
        ),
        (
            [model_of(), model_of(dtype="bfloat16")],
            [SINGLE],
            "the members differ in compute type or device\n  to do: load all of them alike",
        ),
        (
            [model_of(), model_of(device=torch.device("meta"))],
            [SINGLE],
            "the members differ in compute type or device\n  to do: load all of them alike",
        ),
        (
            [model_of(), model_of()],
            [Average((0, 1)), Average((0, 2)), Average((3,))],
            "an average names member 2 of 2\n  to do: members count from 0",
        ),
    ],
)
def test_members_that_are_refused_in_full(models, averages, error):
    with pytest.raises(InputError) as caught:
        check_members(models, averages)
    assert str(caught.value) == error


def test_members_that_fit_are_taken():
    check_members([model_of(), model_of()], [SINGLE, Average((0, 1), "probabilities")])


@pytest.mark.parametrize("members", [(), (1, 0), (0, 0), (-1, 0)])
def test_members_of_no_average(members):
    with pytest.raises(ValueError) as caught:
        Average(members)
    assert str(caught.value) == f"members are distinct indices in ascending order, not {members}"


def test_an_average_is_one_of_logits_unless_told_otherwise():
    assert (SINGLE.members, SINGLE.kind) == ((0,), "logits")


@pytest.mark.parametrize("want_top", [False, True])
def test_likeliest_tokens_are_looked_for_when_asked_for(want_top):
    table = torch.zeros(1, 2, VOCAB)
    table[0, 0, 5] = 1.0
    arguments = (np.zeros((1, 2), dtype=np.int64), np.array([0, 1]), np.array([5, 5]))
    for averages in ([SINGLE], [Average((0,), "probabilities"), SINGLE]):
        result = position_losses(constant_members([table]), averages, *arguments, want_top=want_top)
        assert (result.nll.dtype, result.nll.shape) == (np.float32, (len(averages), 2))
        if want_top:
            np.testing.assert_array_equal(result.is_top, np.array([[True, False]] * len(averages)), strict=True)
        else:
            assert result.is_top is None
            assert position_losses(constant_members([table]), averages, *arguments).is_top is None


@pytest.mark.parametrize("vocab_size, size", [(2048, 128), (2405, 108), (4096, 64), (4161, 64), (60_000, 64)])
def test_the_head_runs_over_a_megabyte_of_logits_or_64_positions(vocab_size, size, monkeypatch):
    sizes = []

    def head(states: torch.Tensor, *_: object) -> torch.Tensor:
        sizes.append(len(states))
        return torch.zeros(len(states), vocab_size)

    monkeypatch.setattr("megadocs.evaluate.scoring_model.F.linear", head)
    model = ScoringModel(lambda tokens: torch.ones(*tokens.shape, 2), vocab_size, head_weight=torch.ones(1, 2))
    position_losses(
        [model], [SINGLE], np.zeros((1, 300), dtype=np.int64), np.arange(300), np.zeros(300, dtype=np.int64)
    )
    assert sizes == [size] * (300 // size) + [300 % size]


def test_logits_that_a_function_gave_are_not_written_over():
    table = torch.arange(4 * VOCAB, dtype=torch.float32).view(1, 4, VOCAB) / 50
    kept = table.clone()
    model = ScoringModel.from_callable(lambda tokens: table, VOCAB)
    nll = position_losses([model], [SINGLE], np.zeros((1, 4), dtype=np.int64), np.arange(4), np.arange(4)).nll
    assert torch.equal(table, kept)
    expected = torch.logsumexp(kept[0].double(), dim=-1) - kept[0].double()[torch.arange(4), torch.arange(4)]
    np.testing.assert_allclose(nll[0], expected, rtol=1e-5)


def test_targets_come_line_by_line_from_the_position_before_them():
    one, other = NumberedModel(), NumberedModel(shift=2)
    tokens = np.array([[3, 1, 4, 1], [5, 9, 2, 6]])
    wanted = np.array([[False, False, True, True], [False, True, False, True]])
    found = target_losses.target_losses(
        [one.scoring_model(), other.scoring_model()], [Average((1,)), SINGLE], tokens, wanted
    )
    expected = [[m.loss(1, 2, 4), m.loss(4, 3, 1), m.loss(5, 1, 9), m.loss(2, 3, 6)] for m in (other, one)]
    np.testing.assert_allclose(found, np.array(expected, dtype=np.float32), rtol=1e-5, strict=True)
    assert one.segments == []
    segments = np.array([[0, 0, 1, 1], [2, 2, 2, 3]])
    target_losses.target_losses([one.scoring_model()], [SINGLE], tokens, wanted, segments)
    assert one.segments == [segments.tolist()]


def test_what_cannot_be_asked_for():
    tokens, segments = np.zeros((1, 2), dtype=np.int64), np.zeros((1, 2), dtype=np.int64)
    with pytest.raises(AssertionError, match=r"^the first token of a window has nothing before it$"):
        target_losses.target_losses([model_of()], [SINGLE], tokens, np.array([[True, True]]))
    with pytest.raises(AssertionError, match=r"^boundaries are for models trained here$"):
        target_losses.target_losses([model_of()], [SINGLE], tokens, np.array([[False, True]]), segments)


class Remembering(ScoringModel):
    """Keeps the logits that its head has made."""

    def open_head(self):
        self.__dict__["made"] = []
        head = super().open_head()

        def remember(states: torch.Tensor) -> torch.Tensor:
            self.__dict__["made"].append(head(states).clone())
            return self.__dict__["made"][-1]

        return remember


@pytest.mark.parametrize(
    "members, in_first",
    [
        ([(0,), (0, 1), (0, 1, 2)], (0, 1, 2)),
        ([(0, 1), (0, 2)], (0, 2)),  # the first member's logits begin two means: the earlier needs a table of its own
        ([(0, 1), (0, 1, 2), (0, 2)], (0, 2)),
        ([(0,), (1,), (2,)], (0,)),
    ],
)
def test_a_mean_grows_in_place_of_the_logits_that_it_begins_with(members, in_first):
    """Two tables of logits at once, however many members and sizes there are."""
    tables = [torch.randn(1, 4, VOCAB, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    models = [Remembering(lambda tokens, table=table: table, VOCAB) for table in tables]
    arguments = (np.zeros((1, 4), dtype=np.int64), np.arange(4), np.arange(4))
    position_losses(models, [Average(chosen) for chosen in members], *arguments)
    found = [model.__dict__["made"][0] for model in models]
    torch.testing.assert_close(found[0], torch.stack([tables[k][0] for k in in_first]).mean(dim=0))
    assert torch.equal(found[1], tables[1][0]) and torch.equal(found[2], tables[2][0])


def test_the_logits_of_a_model_alone_make_room_for_its_powers():
    """Nobody needs them again: a second table would cost as much as the head."""
    generator = torch.Generator().manual_seed(0)
    weight, states = torch.randn(VOCAB, 3, generator=generator), torch.randn(1, 4, 3, generator=generator)
    model = Remembering(lambda tokens: states, VOCAB, head_weight=weight)
    position_losses([model], [SINGLE], np.zeros((1, 4), dtype=np.int64), np.arange(4), np.arange(4))
    logits = states[0] @ weight.T
    expected = torch.exp(logits - logits.amax(dim=-1, keepdim=True))
    torch.testing.assert_close(model.__dict__["made"][0], expected)


def test_what_a_model_is_given_goes_to_its_device():
    """Shown by the device that holds no values: it is gone through to the last line, where they are taken from it."""
    given = []

    def within(tokens: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
        given.append((tokens.device.type, segments.device.type))
        return torch.zeros(*tokens.shape, VOCAB, device="meta")

    def hidden(tokens: torch.Tensor) -> torch.Tensor:
        given.append(tokens.device.type)
        return torch.zeros(*tokens.shape, VOCAB, device="meta")

    model = ScoringModel(hidden, VOCAB, device=torch.device("meta"), hidden_within=within)
    tokens, places = np.zeros((1, 3), dtype=np.int64), np.arange(3)
    for settings in ({}, {"segments_BT": tokens}, {"want_top": True}):
        with pytest.raises(NotImplementedError, match="meta"):
            position_losses([model], [SINGLE], tokens, places, places, **settings)
    assert given == ["meta", ("meta", "meta"), "meta"]
