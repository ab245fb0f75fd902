"""Continuous batching against one request at a time: shared prompts, ragged ends, little memory, scores."""

from __future__ import annotations

import copy

import pytest
import torch

from megadocs.errors import InputError
from megadocs.model import build_model
from megadocs.model.batching import Batcher, Request
from megadocs.model.decoder import Decoder
from megadocs.model.token_choice import Sampling
from megadocs.recipe.training import ModelConfig

CONTEXT = 256
GREEDY = Sampling(temperature=0.0)


@pytest.fixture(scope="module")
def model():
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    built = build_model(ModelConfig(**shape, num_key_value_heads=2), 90, CONTEXT, seed=0)
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2)
    return built


def batcher_of(model, *, num_sequences=4, num_pages=40):
    decoder = Decoder(model, num_sequences=num_sequences, num_pages=num_pages)
    return Batcher([decoder], num_sequences=num_sequences, context_tokens=CONTEXT, num_pages=num_pages)


def run(batcher, requests):
    for request in requests:
        batcher.submit(request)
    done = {}
    while batcher.has_work:
        done |= {finished.key: finished for finished in batcher.step()}
    return done


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_is_consumed_is_laid_out_alike_and_gives_its_layers_back(model, dtype):
    taken = copy.deepcopy(model)
    decoders = [Decoder(one, num_sequences=4, num_pages=3, dtype=dtype, consume=one is taken) for one in (model, taken)]
    tokens = torch.arange(20)
    kept, other = (decoder.read(tokens, [1], start=0, num_logits=20) for decoder in decoders)
    assert torch.equal(kept, other)
    assert all(parameter.is_meta for parameter in taken.model.layers.parameters())
    assert not any(parameter.is_meta for parameter in model.parameters())


def prompt_of(length, seed=0):
    return torch.randint(0, 90, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def mixed_requests(count=24):
    """Prompts of many lengths, some shared, some alike at the beginning; limits of many lengths; all ways to draw."""
    samplings = [GREEDY, Sampling(), Sampling(0.8, 5), Sampling(1.0, 0, 0.9), Sampling(1.2, 0, 1.0, 0.1)]
    base = prompt_of(150)
    prompts = [base[:130], base[:130], [*base[:70], *prompt_of(9, 1)], prompt_of(3, 2), base, prompt_of(64, 3)]
    return [
        Request(
            key=number,
            prompt=prompts[number % len(prompts)],
            max_new_tokens=1 + (number * 7) % 40,
            seed=number,
            sampling=samplings[number % len(samplings)],
            stop_ids=frozenset({number % 90}),
        )
        for number in range(count)
    ]


def test_company_changes_nothing(model):
    """Alone, in batches, with other places, in another order: one text for a seed (float32; ties are not expected)."""
    requests = mixed_requests()
    alone = {request.key: run(batcher_of(model), [request])[request.key] for request in requests}
    for num_sequences, order in ((4, requests), (24, requests), (3, requests[::-1])):
        together = run(batcher_of(model, num_sequences=num_sequences, num_pages=140), order)
        assert {key: done.tokens for key, done in together.items()} == {key: d.tokens for key, d in alone.items()}
        assert {key: done.reason for key, done in together.items()} == {key: d.reason for key, d in alone.items()}


def test_greedy_is_the_models_own(model):
    for length in (1, 63, 64, 65, 200):
        prompt = prompt_of(length)
        got = run(batcher_of(model), [Request(key=0, prompt=prompt, max_new_tokens=30, sampling=GREEDY)])[0].tokens
        tokens = list(prompt)
        for _ in range(30):
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
        assert got == tokens[length:]


def test_a_frequency_penalty_bends_the_draw_and_not_the_scores(model):
    prompt, penalty = prompt_of(20), 0.7
    sampling = Sampling(temperature=0.0, frequency_penalty=penalty)
    request = Request(key=0, prompt=prompt, max_new_tokens=30, sampling=sampling, wants_log_probabilities=True)
    plain = Request(key=1, prompt=prompt, max_new_tokens=30, sampling=GREEDY)
    got = run(batcher_of(model), [request, plain])
    tokens, scores = list(prompt), []
    for _ in range(30):
        with torch.no_grad():
            logits = model(torch.tensor([tokens]))[0, -1]
        counts = torch.bincount(torch.tensor(tokens[20:], dtype=torch.int64), minlength=90)
        tokens.append(int((logits - penalty * counts).argmax()))
        scores.append(float(logits.log_softmax(-1)[tokens[-1]]))
    assert got[0].tokens == tokens[20:]
    assert got[0].tokens != got[1].tokens
    assert got[0].log_probabilities == pytest.approx(scores, abs=1e-4)


def test_little_memory_costs_restarts_only(model):
    requests = mixed_requests()
    expected = run(batcher_of(model, num_sequences=8, num_pages=200), requests)
    tight = batcher_of(model, num_sequences=8, num_pages=8)
    got = run(tight, requests)
    assert tight.counts.num_restarts > 0
    assert {key: done.tokens for key, done in got.items()} == {key: done.tokens for key, done in expected.items()}
    assert tight._pages.num_free + sum(len(p.pages) for p in tight._prompts._prompts.values()) >= 7  # none is lost


def test_no_page_is_lost(model):
    batcher = batcher_of(model)
    run(batcher, mixed_requests())
    batcher.submit(Request(key="gone", prompt=prompt_of(100, 9), max_new_tokens=50))
    batcher.step()
    batcher.cancel("gone")
    for prompt in list(batcher._prompts._prompts.values()):
        batcher._prompts.forget(prompt)
    assert not batcher.has_work
    assert batcher._pages.num_free == 39


def test_a_prompt_is_read_once_for_all_its_generations(model):
    batcher = batcher_of(model, num_sequences=8, num_pages=80)
    prompt = prompt_of(150)
    done = run(batcher, [Request(key=n, prompt=prompt, max_new_tokens=5, seed=n) for n in range(8)])
    assert batcher.counts.num_read == 150
    assert sorted(finished.cached_tokens for finished in done.values()) == [0] + [150] * 7


def test_a_thought_starts_from_the_longest_beginning(model):
    batcher = batcher_of(model, num_sequences=2)
    base = prompt_of(200)
    first = run(batcher, [Request(key=0, prompt=base[:150], max_new_tokens=1)])[0]
    second = run(batcher, [Request(key=1, prompt=[*base[:100], *prompt_of(50, 5)], max_new_tokens=1)])[1]
    assert (first.cached_tokens, second.cached_tokens) == (0, 100)
    assert batcher.counts.num_read == 150 + 50


def test_places_are_filled_at_once(model):
    """Ends at many lengths: while requests wait, hardly a place is empty."""
    batcher = batcher_of(model, num_sequences=4, num_pages=80)
    prompt = prompt_of(10)
    run(batcher, [Request(key=n, prompt=prompt, max_new_tokens=5 + n % 17, seed=n) for n in range(60)])
    assert batcher.counts.num_drawn / (batcher.counts.num_steps * 4) > 0.93


def test_log_probabilities_are_the_models(model):
    prompt, length = prompt_of(140), 20
    request = Request(key=0, prompt=prompt, max_new_tokens=length, seed=3, wants_log_probabilities=True)
    done = run(batcher_of(model), [request])[0]
    expected = -model.token_losses(torch.tensor([[*prompt, *done.tokens]]))[0, 139:]
    torch.testing.assert_close(torch.tensor(done.log_probabilities), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lengths", [(10, 5), (140, 1), (127, 2), (128, 60), (1, 200), (129, 127)])
def test_a_given_continuation_is_scored(model, lengths):
    prompt, continuation = prompt_of(lengths[0]), prompt_of(lengths[1], 4)
    batcher = batcher_of(model)
    for _ in range(2):  # the second time from what the first left in the cache, if anything
        done = run(batcher, [Request(key=0, prompt=prompt, max_new_tokens=1, continuation=continuation)])[0]
        expected = -model.token_losses(torch.tensor([[*prompt, *continuation]]))[0, lengths[0] - 1 :]
        torch.testing.assert_close(torch.tensor(done.log_probabilities), expected, rtol=1e-4, atol=1e-4)
        run(batcher, [Request(key=1, prompt=prompt, max_new_tokens=1)])


def test_stop_functions_and_limits(model):
    requests = [
        Request(key=0, prompt=[1], max_new_tokens=30, stops=lambda tokens: len(tokens) == 7),
        Request(key=1, prompt=prompt_of(CONTEXT - 3), max_new_tokens=30),
    ]
    done = run(batcher_of(model), requests)
    assert (len(done[0].tokens), done[0].reason) == (7, "stop")
    assert (len(done[1].tokens), done[1].reason) == (3, "length")  # the context is full


def test_what_does_not_fit_is_refused(model):
    batcher = batcher_of(model)
    for prompt in ([], prompt_of(CONTEXT)):
        with pytest.raises(InputError, match="a context of 256"):
            batcher.submit(Request(key=0, prompt=prompt, max_new_tokens=1))
    with pytest.raises(InputError, match="does not hold one context"):
        batcher_of(model, num_pages=4)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128, 130, 191, 200, CONTEXT - 1])
def test_the_least_memory_holds_every_prompt(model, length):
    """A half full last page is copied for the sequence while the prompt still has it: a page beyond the context's."""
    batcher = batcher_of(model, num_pages=CONTEXT // 64 + 2)
    requests = [Request(key=n, prompt=prompt_of(length, n), max_new_tokens=60, seed=n) for n in range(3)]
    for request in [*requests, *requests]:
        batcher.submit(request)
    num_steps = 0
    while batcher.has_work:
        batcher.step()
        num_steps += 1
        assert num_steps < 2000, "it reads the prompt for ever"
    with pytest.raises(InputError, match="does not hold one context"):
        batcher_of(model, num_pages=CONTEXT // 64 + 1)


def test_occupancy_is_counted_from_a_sequences_first_token(model):
    prompt = prompt_of(10)
    lengths = [8, 8, 40, 40]
    requests = [Request(key=n, prompt=prompt, max_new_tokens=length, seed=n) for n, length in enumerate(lengths)]
    done = run(batcher_of(model), requests)
    assert [done[key].occupancy for key in (0, 1)] == [1.0, 1.0]  # four in four places, all the way
    # 7 steps of four, 32 of two (the first token comes with the prompt).
    assert done[2].occupancy == pytest.approx((7 * 4 + 32 * 2) / (39 * 4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("num_sequences", [1, 2, 16])
def test_half_precision_is_near_a_full_pass(model, dtype, num_sequences):
    expected = model(torch.arange(20).unsqueeze(0))[:, -1]
    decoder = Decoder(model, num_sequences=num_sequences, num_pages=num_sequences + 1, dtype=dtype)
    with torch.inference_mode():
        batch = decoder.batch([[page + 1] for page in range(num_sequences)], [0] * num_sequences)
        for position in range(20):
            got = decoder.step(torch.full((num_sequences,), position), batch)
    assert (got - expected).abs().max() < (0.1 if dtype == torch.bfloat16 else 0.01) * expected.abs().max()
