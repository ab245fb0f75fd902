"""Train with the Hugging Face Trainer on an arm's stream; megadocs' own loop is not used.

    python examples/own_trainer.py runs/quickstart stitched runs/hf_stitched

The workspace needs its rows (`megadocs rows RECIPE`). Order, epochs and mixture are in the stream: one pass, no
shuffling. Any recipe's arm will do, and any causal model that takes its tokens; `streams.to_torch()` serves Lightning
and plain loops in the same way.
"""

from __future__ import annotations

import sys

from transformers import LlamaForCausalLM, Trainer, TrainingArguments, default_data_collator, set_seed

import megadocs


def main(workspace: str = "runs/quickstart", arm: str = "stitched", output: str = "runs/hf_stitched") -> float:
    """Train and save; the mean training loss of the run."""
    streams = megadocs.open_workspace(workspace).streams(arm)
    set_seed(streams.seed)
    trainer = Trainer(
        model=LlamaForCausalLM(streams.model_config()),
        train_dataset=streams.to_datasets(),
        data_collator=default_data_collator,  # windows are full: there is nothing to pad
        args=TrainingArguments(
            output_dir=output,
            per_device_train_batch_size=streams.batch_size,
            num_train_epochs=1,
            train_sampling_strategy="sequential",  # the order is the experiment
            learning_rate=streams.train["learning_rate"],
            weight_decay=streams.train["weight_decay"],
            adam_beta2=0.95,
            max_grad_norm=streams.train["gradient_clip"],
            lr_scheduler_type="cosine",
            warmup_steps=round(streams.train["warmup_fraction"] * streams.num_steps),
            save_strategy="no",
            report_to="none",
            logging_steps=max(1, streams.num_steps // 10),
            disable_tqdm=True,
        ),
    )
    result = trainer.train()
    trainer.save_model(output)
    streams.tokenizer().save_pretrained(output)
    print(f"{result.global_step} steps, mean training loss {result.training_loss:.3f}; model in {output}")
    return float(result.training_loss)


if __name__ == "__main__":
    main(*sys.argv[1:])
