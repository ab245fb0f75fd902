"""An arm's windows in the order in which it trains on them, for trainers that are not ours.

streams = open_workspace("runs/quickstart").streams("stitched")
streams.to_torch()         # torch Dataset of {"input_ids", "labels"}, both (T,) int64
streams.to_datasets()      # the same as a Hugging Face dataset
tokens, segments = streams.batch(0)        # (B, T) int32: what our loop's first optimiser step reads

Train on it without shuffling, in batches of `batch_size`, for one pass: order, epochs and mixture are in it. The loss
is the mean over the next tokens within each window, T - 1 of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from megadocs.errors import InputError
from megadocs.pipeline.stages.arm_data import published_mixture
from megadocs.pipeline.steps.experiment import Experiment, Run
from megadocs.pipeline.steps.step import find_artifact
from megadocs.recipe import ModelConfig
from megadocs.store.artifact import Workspace
from megadocs.streams import Mixture, WindowId
from megadocs.text.tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    import datasets
    import torch
    import transformers


class Streams:
    """The windows that one arm with one seed trains on.

    Attributes:
        arm, seed: whose they are.
        context_length: T, tokens of a window.
        batch_size: B, windows of an optimiser step.
        num_steps: optimiser steps of the run.
        train: the arm's section `train`, as plain values: learning rate, weight decay, schedule.
    """

    def __init__(
        self, experiment: Experiment, workspace: Workspace, run: Run, mixture: Mixture, tokenizer: Path
    ) -> None:
        config = run.train.config
        self.arm, self.seed = run.arm.name, run.seed
        self._origin, self._fingerprint = (experiment, workspace), run.train.fingerprint
        self.context_length, self.batch_size = mixture.context_length, mixture.batch_size
        self.num_steps = mixture.num_steps
        self.train: dict[str, Any] = config["train"]
        self._model, self._mixture, self._folder = config["model"], mixture, tokenizer
        self._tokenizer: Tokenizer = load_tokenizer(str(tokenizer))

    @staticmethod
    def find_run(experiment: Experiment, arm: str, seed: int | None) -> Run:
        """The run of an arm and seed (None: its first); `InputError` when there is none."""
        found = [run for run in experiment.runs if run.arm.name == arm]
        if not found:
            names = dict.fromkeys(run.arm.name for run in experiment.runs)
            reason = experiment.left_out.get(arm)
            what = f"arm {arm!r} is left out: {reason}" if reason else f"no arm {arm!r}"
            raise InputError(what, where="arm", remedy=f"choose one of {', '.join(names)}")
        chosen = [run for run in found if seed in (None, run.seed)]
        if not chosen:
            seeds = ", ".join(str(run.seed) for run in found)
            raise InputError(f"no seed {seed} of arm {arm}", where="seed", remedy=f"choose one of {seeds}")
        return chosen[0]

    @classmethod
    def open(cls, experiment: Experiment, workspace: Workspace, arm: str, seed: int | None = None) -> Streams:
        """From the published rows of an arm; `InputError` when they are not there yet."""
        run = cls.find_run(experiment, arm, seed)
        mixture, tokenizer = published_mixture(run.train, workspace), find_artifact(experiment.tokenizer, workspace)
        if mixture is None or tokenizer is None:
            remedy = "`megadocs rows RECIPE` (or megadocs.run(recipe, workspace, until='rows')) makes them"
            raise InputError(f"the rows of arm {arm} are not there yet", where=str(workspace.root), remedy=remedy)
        return cls(experiment, workspace, run, mixture, tokenizer.path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Opened anew in another process: token segments are mapped files, which cannot be sent."""
        return Streams.open, (*self._origin, self.arm, self.seed)

    def __len__(self) -> int:
        """Windows of the whole run: num_steps * batch_size."""
        return self.num_steps * self.batch_size

    def __iter__(self) -> Iterator[npt.NDArray[np.int32]]:
        for step in range(self.num_steps):
            yield from self._mixture.read_batch(step)[0]

    def __repr__(self) -> str:
        return f"Streams({self.arm!r}, seed={self.seed}): {len(self)} windows of {self.context_length} tokens"

    def batch(self, step: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32] | None]:
        """Tokens (B, T) of an optimiser step, and the segments (B, T) that attention stays within, or None.

        Raises:
            IndexError: not 0 <= step < num_steps.
        """
        if not 0 <= step < self.num_steps:
            raise IndexError(f"step {step} is not within the {self.num_steps} steps of the run")
        return self._mixture.read_batch(step)

    def window(self, index: int) -> npt.NDArray[np.int32]:
        """The tokens (T,) of the run's window `index`; `IndexError` unless 0 <= index < len."""
        tokens: npt.NDArray[np.int32] = self._mixture.read_windows(self._place(index))[0]
        return tokens

    def text(self, index: int) -> str:
        """The same window as text; separators are written out."""
        return self._tokenizer.decode(self.window(index).tolist())

    def epochs(self) -> dict[str, float]:
        """How often the run goes through each of its streams."""
        return {exposure.name: exposure.actual_epochs for exposure in self._mixture.exposures()}

    def tokenizer(self) -> transformers.PreTrainedTokenizerFast:
        """The student's tokenizer, with BOS and EOS, for transformers."""
        from transformers import PreTrainedTokenizerFast

        names = {"bos_token": self._tokenizer.bos_token, "eos_token": self._tokenizer.eos_token}
        return PreTrainedTokenizerFast(tokenizer_file=str(self._folder / "tokenizer.json"), **names)  # type: ignore[no-untyped-call]

    def model_config(self) -> transformers.LlamaConfig:
        """The shape of the recipe's student, for `transformers.LlamaForCausalLM`.

        Raises:
            InputError: the student continues from a pretrained folder; load that one instead.
        """
        from transformers import LlamaConfig

        from megadocs.model import resolve_config
        from megadocs.model.hf_export import hf_config

        section, own = ModelConfig.model_validate(self._model), self._tokenizer
        if section.init_from is not None:
            remedy = "transformers.AutoModelForCausalLM.from_pretrained loads it"
            raise InputError(f"the student continues from {section.init_from}", where="model.init_from", remedy=remedy)
        shape = resolve_config(section, vocab_size=own.vocab_size, context_length=self.context_length)
        return LlamaConfig(**hf_config(shape, {"bos_token_id": own.bos_id, "eos_token_id": own.eos_id}))

    def to_torch(self, *, with_segments: bool = False) -> torch.utils.data.Dataset[dict[str, torch.Tensor]]:
        """A map-style dataset of `{"input_ids", "labels"}`, both (T,) int64 and equal: causal models shift labels.

        Args:
            with_segments: add `segment_ids` (T,); needed where the recipe sets an attention boundary, which a trainer
                of your own then has to keep.

        Raises:
            InputError: the arm has an attention boundary and `with_segments` is not set.
        """
        self._check_boundary(with_segments=with_segments)
        from megadocs.api.torch_windows import TorchWindows

        return TorchWindows(self, with_segments=with_segments)

    def to_datasets(self, *, with_segments: bool = False) -> datasets.Dataset:
        """The same as a Hugging Face dataset on disk (its cache), in order; see `to_torch`."""
        self._check_boundary(with_segments=with_segments)
        try:
            import datasets
        except ModuleNotFoundError as error:
            remedy = "pip install datasets; `to_torch` needs torch alone"
            raise InputError("the package datasets is not installed", where="to_datasets", remedy=remedy) from error
        names = ["input_ids", "labels", *(["segment_ids"] if with_segments else [])]
        column = datasets.Sequence(datasets.Value("int32"), length=self.context_length)
        return datasets.Dataset.from_generator(
            self.examples,
            features=datasets.Features(dict.fromkeys(names, column)),
            gen_kwargs={"with_segments": with_segments},
            fingerprint=f"megadocs-{self._fingerprint}-{len(names)}",  # the content, so that it is written once
        )

    def examples(self, *, with_segments: bool = False) -> Iterator[dict[str, npt.NDArray[np.int32]]]:
        """The windows one by one as `{"input_ids", "labels"}`, step after step."""
        self._check_boundary(with_segments=with_segments)
        for step in range(self.num_steps):
            tokens, segments = self.batch(step)
            for index, window in enumerate(tokens):
                example = {"input_ids": window, "labels": window}
                if with_segments:
                    example["segment_ids"] = np.zeros_like(window) if segments is None else segments[index]
                yield example

    def segments(self, index: int) -> npt.NDArray[np.int32]:
        """The segments (T,) of a window; all zero where attention crosses documents. Errors as of `window`."""
        found = self._mixture.read_segments(self._place(index))
        return np.zeros(self.context_length, dtype=np.int32) if found is None else found[0]

    def _place(self, index: int) -> list[WindowId]:
        """What the mixture reads a window of the run by."""
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} is not within the {len(self)} windows of the run")
        step, place = divmod(index, self.batch_size)
        return self._mixture.window_ids(step)[place : place + 1]

    def _check_boundary(self, *, with_segments: bool) -> None:
        if self._mixture.boundary is not None and not with_segments:
            raise InputError(
                "attention in this arm stays within segments, which plain causal attention would cross",
                where="stream.attention_boundary",
                remedy="set with_segments=True and keep the boundary in your model, or use an arm without one",
            )
