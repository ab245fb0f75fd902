"""What every field of a recipe is to somebody who did not write it: plain, something that is read, or a power.

`recipe/consent.py` asks the person for each power. A test goes over all models of the recipe, so that a new field must
be classified here.
"""

from __future__ import annotations

from typing import Literal

#: What a field can be. plain: numbers, choices, texts, column names. reads: a file or hub repository that is read. The
#: others are powers. code is asked for by `--allow-code` where it is loaded; `consent` is the person's word itself.
Class = Literal["plain", "reads", "program", "code", "network", "ports", "consent"]

READS = {
    "CorpusConfig": "source",
    "EvaluationSetConfig": "source",
    "LoadedTokenizer": "source revision",
    "EngineConfig": "model revision",
    "GenerateConfig": "split_tokenizer",
    "PublishedDataset": "source",
    "ModelConfig": "init_from",
    "EvaluateConfig": "benchmarks benchmark_data",
    "RephraseConfig": "style diverse_styles",
    "ThoughtConfig": "style",
    "TaskConfig": "style diverse_styles",
}
POWERS: dict[str, dict[str, Class]] = {
    "EngineConfig": {"kind": "program", "command": "program", "base_url": "network", "options": "ports"},
    "GenerateConfig": {"allow_remote": "consent"},
    "TrainConfig": {"trackers": "network"},
    "StreamConfig": {"ordering": "code"},
    "ExtraStream": {"ordering": "code"},
    "EvaluateConfig": {"task_folders": "code"},
}
PLAIN = {
    "Recipe": "name description corpus generate published tokenizer stream mixture model train evaluate analysis "
    "search tune plan arms ensembles seeds",
    "CorpusConfig": "text_field id_field pieces split max_rejected_fraction near_duplicates limit seed",
    "PiecesConfig": "min_characters max_characters",
    "SplitCounts": "train validation test max_multiple probe",
    "TrainedTokenizer": "kind vocab_size",
    "LoadedTokenizer": "kind",
    "GenerateConfig": "engine rephrase thought sample temperature top_p language long_documents seed max_attempts "
    "attempt_timeout_seconds gates limits",
    "EngineConfig": "api num_servers num_threads concurrency context_tokens",
    "RephraseConfig": "num_generations max_new_tokens",
    "ThoughtConfig": "num_generations max_new_tokens",
    "SampleConfig": "teacher num_samples max_new_tokens temperature batch_size",
    "TeacherConfig": "arm seeds num_members mix",
    "TaskConfig": "num_generations max_new_tokens",
    "GatesConfig": "empty truncated refusal echo repetition sibling control_tokens filtered strip_preamble "
    "max_source_overlap",
    "LimitsConfig": "max_requests max_tokens max_cost price_per_million_prompt_tokens price_per_million_new_tokens "
    "price_per_server_hour",
    "PublishedConfig": "datasets real_documents separators think_open think_close document_fraction seed",
    "PublishedDataset": "form text_field id_field generation_field real_document rows_per_document num_generations",
    "StreamConfig": "num_generations num_thoughts real_document real_order reorder_rows reshuffle_windows "
    "attention_boundary extra datasets missing max_missing_fraction think_open think_close",
    "ExtraStream": "weight num_generations num_thoughts real_document",
    "MixtureConfig": "synthetic_fraction real_multiple separate_real_stream block_windows rounding max_windows "
    "data_seed",
    "ModelConfig": "preset hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
    "rope_theta rms_norm_eps tie_word_embeddings",
    "TrainConfig": "context_length batch_size micro_batch_size real_epochs synthetic_epochs learning_rate weight_decay "
    "warmup_fraction beta1 beta2 eps gradient_clip weight_decay_schedule ema_decay masked_input_fraction dtype device "
    "compile deterministic evaluate_every_steps checkpoint_minutes keep_checkpoints log_every_steps num_processes "
    "parallel rank_timeout_seconds",
    "EvaluateConfig": "batch_size stride sets benchmark_items num_fewshot gate",
    "EvaluationSetConfig": "text_field id_field pieces limit short_below_tokens past",
    "EnsembleConfig": "arm seeds num_members subsets",
    "AnalysisConfig": "confidence num_bootstrap seed baseline equivalence_margin seed_variance",
    "SearchConfig": "axes arms start round_size compute_matched_epochs confidence max_runs max_hours",
    "AxisConfig": "values lower upper arms",
    "TuneBudget": "max_runs max_hours",
    "PlanConfig": "mean_document_tokens mean_rephrase_tokens mean_thought_tokens new_tokens_per_second "
    "train_flops_per_second",
}

#: section -> field -> what it is.
FIELDS: dict[str, dict[str, Class]] = {
    section: {
        **dict.fromkeys(PLAIN.get(section, "").split(), "plain"),
        **dict.fromkeys(READS.get(section, "").split(), "reads"),
        **POWERS.get(section, {}),
    }
    for section in sorted({*PLAIN, *READS, *POWERS})
}
