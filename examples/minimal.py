"""The whole method on one page, like an algorithm box: documents in, "worth k times the real data" out.

    python examples/minimal.py my_texts/ runs/minimal      # a folder of .txt files, at least 30
    python examples/minimal.py                             # the demo's 80 documents (extra `demo`)

    Input: a few real documents D, an instruct model, a number of generations G
    1. split D by document into train, validation, test; only train documents reach the generator
    2. write G rephrases of each train document
    3. order the rows: simple (shuffled) or stitched (a document's rephrases, then the document: a megadoc)
    4. train a student on a mixture of real and synthetic windows; train others on real text alone: 1x, 2x, 4x documents
    5. score all of them on the test documents; read the synthetic arms' losses off the real-only curve

Steps 1 to 3 are megadocs'; step 4 is a plain loop in this file; step 5 is forty lines below. What `megadocs run` does
besides: tuning, several seeds, intervals, controls, resume, accounting. Do not believe a single seed.
"""

from __future__ import annotations

import math
import sys
from itertools import pairwise

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

import megadocs

ARMS = {
    "real_only": {},
    "real_2x": {"mixture.real_multiple": 2},
    "real_4x": {"mixture.real_multiple": 4},
    "simple": {"stream.ordering": "simple", "mixture.synthetic_fraction": 0.75, "train.learning_rate": 0.01},
    "stitched": {"stream.ordering": "stitched", "mixture.synthetic_fraction": 0.75, "train.learning_rate": 0.01},
}


def prepare(source: str | None, root: str, *settings: str) -> megadocs.OpenWorkspace:
    """Steps 1 to 3: split, generate, tokenise, order. Run again, everything is reused."""
    overrides = [*settings] if source is None else [f"corpus.source={source}", "corpus.split=auto", *settings]
    overrides += ["generate.thought=null", f"arms={ARMS}".replace("'", '"')]
    recipe = megadocs.load_recipe("quickstart", overrides)
    return megadocs.run(recipe, root, until="rows")


def learning_rate(step: int, num_steps: int, peak: float, warmup: float) -> float:
    """Linear warm-up, then a cosine to zero."""
    num_warmup = max(1, round(warmup * num_steps))
    if step < num_warmup:
        return peak * (step + 1) / num_warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / (num_steps - num_warmup)))


def train(streams: megadocs.Streams, seed: int = 0) -> LlamaForCausalLM:
    """Step 4: AdamW over the arm's windows, in the order in which they come."""
    torch.manual_seed(seed)
    model, settings = LlamaForCausalLM(streams.model_config()), streams.train
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"], betas=(0.9, 0.95)
    )
    for step in range(streams.num_steps):
        tokens = torch.from_numpy(streams.batch(step)[0]).long()  # (B, T)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, streams.num_steps, settings["learning_rate"], settings["warmup_fraction"])
        loss = model(input_ids=tokens, labels=tokens).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["gradient_clip"])
        optimiser.step()
    return model.eval()


@torch.no_grad()
def test_loss(model: LlamaForCausalLM, documents: list[str], streams: megadocs.Streams) -> float:
    """Step 5a: nats per token over the test documents, each on its own, in windows of the context length."""
    tokenizer, total, count = streams.tokenizer(), 0.0, 0
    for text in documents:
        ids = [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        for start in range(0, len(ids) - 1, streams.context_length):
            window = torch.tensor([ids[start : start + streams.context_length + 1]])
            logits = model(window[:, :-1]).logits[0]
            total += cross_entropy(logits, window[0, 1:], reduction="sum").item()
            count += window.shape[1] - 1
    return total / count


def worth(loss: float, curve: list[tuple[int, float]]) -> str:
    """Step 5b: how many times the real documents give this loss, between measured points and never beyond them."""
    if loss >= curve[0][1]:
        return f"at most {curve[0][0]}x"
    for (less, higher), (more, lower) in pairwise(curve):
        if lower <= loss <= higher:
            share = (higher - loss) / (higher - lower)
            return f"{math.exp(math.log(less) + share * math.log(more / less)):.2f}x"
    return f"more than {curve[-1][0]}x"


def main(source: str | None = None, root: str = "runs/minimal", *settings: str) -> None:
    """Steps 1 to 5, one seed, and the sentence that they give."""
    workspace = prepare(source, root, *settings)
    documents = workspace.documents("test")
    losses = {}
    for arm in workspace.arms:
        streams = workspace.streams(arm)
        losses[arm] = test_loss(train(streams), documents, streams)
        print(f"{arm:10} {streams.num_steps:5} steps   test loss {losses[arm]:.3f} nats per token", flush=True)
    multiples = {"real_only": 1, "real_2x": 2, "real_4x": 4}
    curve = [(multiple, losses[arm]) for arm, multiple in multiples.items() if arm in losses]
    for arm in ("simple", "stitched"):
        print(f"{arm}: worth {worth(losses[arm], curve)} the real data (one seed, no interval)")


if __name__ == "__main__":
    main(*sys.argv[1:])
