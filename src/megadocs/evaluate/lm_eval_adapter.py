"""Our models and ensembles inside lm-evaluation-harness (extra `eval`), for its hundreds of other tasks.

    import lm_eval
    from megadocs.evaluate.lm_eval_adapter import MegadocsLM
    results = lm_eval.simple_evaluate(MegadocsLM("runs/a/model", "runs/b/model", average="logits"), tasks=["piqa"])

Importing this module also registers the name `megadocs`, for `lm_eval.simple_evaluate("megadocs",
model_args="pretrained=runs/a/model+runs/b/model,average=probabilities")`. An exported model folder loads in the
harness's own `hf` model, too; only ensembles need this one. Likelihood tasks only: generation raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import lm_eval.models  # noqa: F401  (the harness adds its own models only to a registry that is still empty)
import numpy as np
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from megadocs.errors import InputError
from megadocs.evaluate.benchmarks.likelihoods import score_pairs
from megadocs.evaluate.benchmarks.prompts import PromptEncoder, TokenPair
from megadocs.evaluate.load_model import LoadedModel, load_model
from megadocs.evaluate.scoring_model import Dtype
from megadocs.evaluate.target_losses import Average


@register_model("megadocs")
class MegadocsLM(LM):  # type: ignore[misc]
    """One model, or several averaged, as a language model of the harness.

    Args:
        sources: folders or hub names of the members.
        pretrained: the same as one text, joined by `+`, for `model_args`.
        average: how members are averaged; without effect for one model.
        dtype: compute type.
        device: `cpu` or `cuda`.
        add_bos: see `PromptEncoder`.
        batch_tokens: tokens of one forward pass.
        batch_size: accepted for the harness's sake, without effect.
        max_batch_size: likewise.
    """

    def __init__(
        self,
        *sources: str,
        pretrained: str | None = None,
        average: Literal["logits", "probabilities"] = "logits",
        dtype: Dtype = "float32",
        device: str | None = "cpu",
        add_bos: bool | None = None,
        batch_tokens: int = 2048,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        names = [*sources, *(pretrained.split("+") if pretrained else [])]
        if not names:
            raise InputError("no model is named", where="model_args", remedy="pretrained=FOLDER[+FOLDER...]")
        members = [load_model(name, dtype=dtype, device=device or "cpu") for name in names]
        _check_tokenizers(members)
        self._models = [member.model for member in members]
        self._average = Average(tuple(range(len(members))), average)
        self._encoder = PromptEncoder(members[0].tokenizer, add_bos=add_bos)
        self._batch_tokens = batch_tokens

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Log-likelihood of each request's continuation, and whether greedy decoding would give it."""
        contexts, continuations = [r.args[0] for r in requests], [r.args[1] for r in requests]
        return self._score(self._encoder.encode_pairs(contexts, continuations))

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Log-likelihood of each whole text: every token once, in windows of the model's context."""
        texts = [request.args[0] for request in requests]
        pairs: list[TokenPair] = []
        owners: list[int] = []
        for owner, tokens in enumerate(self._encoder.tokenizer.encode_batch(texts)):
            windows = list(rolling_pairs(tokens.tolist(), self._encoder.prefix_id, self._max_length()))
            pairs += windows
            owners += [owner] * len(windows)
        values = [value for value, _ in self._score(pairs)]
        return [float(total) for total in np.bincount(owners, weights=values, minlength=len(texts))]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Not offered."""
        raise InputError(
            "this adapter scores likelihoods and does not generate",
            where="lm_eval",
            remedy="use the harness's `hf` model on the exported folder for generation tasks",
        )

    def _score(self, pairs: Sequence[TokenPair]) -> list[tuple[float, bool]]:
        result = score_pairs(self._models, [self._average], pairs, batch_tokens=self._batch_tokens, want_greedy=True)
        assert result.is_greedy is not None
        return list(zip(result.log_likelihoods[0].tolist(), result.is_greedy[0].tolist(), strict=True))

    def _max_length(self) -> int:
        return min((model.max_context for model in self._models if model.max_context is not None), default=2048)


def rolling_pairs(tokens: Sequence[int], prefix_id: int, max_length: int) -> Iterator[TokenPair]:
    """Windows of at most `max_length` input tokens that predict each token exactly once, the first after `prefix_id`.

    Only the last window overlaps the one before it: it is moved left until it is full.
    """
    done = min(len(tokens), max_length)
    if done:
        yield TokenPair((prefix_id,), tuple(tokens[:done]))
    while done < len(tokens):
        end = min(len(tokens), done + max_length)
        yield TokenPair(tuple(tokens[end - max_length - 1 : done]), tuple(tokens[done:end]))
        done = end


def _check_tokenizers(members: Sequence[LoadedModel]) -> None:
    fingerprints = {member.tokenizer.fingerprint for member in members}
    if len(fingerprints) > 1:
        raise InputError(
            "the members of an ensemble have different tokenizers",
            where=", ".join(member.source for member in members),
            remedy="average only models that were trained with one tokenizer",
        )
