"""Every causal family of the installed transformers, tiny and random: scored as transformers scores it, or refused?

    python benchmarks/model_families.py                  # all, a line each, then the count
    python benchmarks/model_families.py gemma2 falcon    # some

A family is built from its own configuration at the shape of `SHAPE`, as far as its configuration knows these names,
with large random weights, so that scales and caps show. Compared are nats per token over two windows. A family whose
tiny form still has more than 30 million parameters, or that transformers cannot build or run at any such shape, is
named as not built. Each runs in a process of its own, at most two minutes and 8 GB.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

TOLERANCE = 1e-4
MOST_PARAMETERS = 30_000_000
SECONDS = 120
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
    # Other families' names for the same.
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "ffn_dim": 48,
    "num_layers": 2,
    "attention_heads": 4,
}


#: What a family may not take beside the rest: tried without, one after another.
LEFT_OUT = ((), ("head_dim",), ("num_key_value_heads",), ("head_dim", "num_key_value_heads"), ("pad_token_id",))


def tiny_model(family: str, vocab_size: int) -> Any:
    """A random model of a family, or None where it is too large; the last error where none can be built."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    kind: Any = CONFIG_MAPPING[family]
    known = {*kind().to_dict(), *kind.attribute_map}
    last: Exception | None = None
    for left_out in LEFT_OUT:
        shape = {name: value for name, value in SHAPE.items() if name in known and name not in left_out}
        try:
            config = kind(vocab_size=vocab_size, **shape)
            with torch.device("meta"):
                if sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters()) > MOST_PARAMETERS:
                    return None
            model = AutoModelForCausalLM.from_config(config).float().eval()
            model(input_ids=torch.tensor([[2, 3, 4]]), use_cache=False)
        except Exception as error:
            last = error
            continue
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
        return model
    raise last or ValueError(family)


def judge(family: str, send: Any) -> None:
    """Send (verdict, detail) of one family."""
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    warnings.simplefilter("ignore")
    import torch
    from transformers.utils import logging

    from megadocs.errors import MegadocsError
    from megadocs.evaluate.load_model import load_model
    from megadocs.text.tokenizer import train_tokenizer

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["some words to be scored by every family, and a few more of them"] * 3, 280)
    tokens = torch.randint(2, tokenizer.vocab_size, (2, 24), generator=torch.Generator().manual_seed(1))

    def nats(logits: torch.Tensor) -> float:
        return float(torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten()))

    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        try:
            model = tiny_model(family, tokenizer.vocab_size)
            if model is None:
                return send.send(("not built", "too large at this shape"))
            model.save_pretrained(name)
            tokenizer.save(Path(name))
            expected = nats(type(model).from_pretrained(name).float().eval()(input_ids=tokens, use_cache=False).logits)
        except Exception as error:
            return send.send(("not built", f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"))
        try:
            scoring = load_model(name).model
            ours = nats(scoring.open_head()(scoring.hidden(tokens).flatten(0, 1)).view(*tokens.shape, -1))
        except MegadocsError as error:
            return send.send(("refused", error.what))
        except Exception as error:
            return send.send(("failed", f"{type(error).__name__}: {str(error)[:200]}"))
    equal = abs(ours - expected) < TOLERANCE
    return send.send(("equal" if equal else "different", f"{expected:.5f} by transformers, {ours:.5f} here"))


def main(families: list[str]) -> int:
    """Judge the families; 1 where one is different or fails in an odd way."""
    import torch  # once, before the processes part

    import megadocs.evaluate.load_model  # noqa: F401

    torch.set_num_threads(1)
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    counts: Counter[str] = Counter()
    for family in families or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        receive, send = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=judge, args=(family, send))
        process.start()
        send.close()
        try:
            verdict, detail = receive.recv() if receive.poll(SECONDS) else ("not built", f"not within {SECONDS} s")
        except EOFError:
            verdict, detail = "not built", "its process ended without a word"
        process.kill()
        process.join()
        counts[verdict] += 1
        print(f"{verdict:10} {family}: {detail}", flush=True)
    print(json.dumps(dict(counts)))
    return 1 if counts["different"] or counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
