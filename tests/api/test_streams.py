"""The windows of an arm for other trainers are those of our own loop, in its order."""

import numpy as np
import pytest
import torch

import megadocs
from megadocs.errors import InputError
from megadocs.pipeline.stages.arm_data import published_mixture
from megadocs.pipeline.steps.sources import open_experiment
from megadocs.store.artifact import Workspace


@pytest.fixture(scope="module", params=["real_only", "simple", "stitched", "latent_thoughts"])
def streams(finished, request):
    return finished.streams(request.param)


def test_they_are_what_training_reads(finished, streams):
    experiment, _ = open_experiment(finished.recipe, Workspace(finished.path))
    run = next(run for run in experiment.runs if (run.arm.name, run.seed) == (streams.arm, streams.seed))
    mixture = published_mixture(run.train, Workspace(finished.path))
    read = np.concatenate([mixture.read_batch(step)[0] for step in range(mixture.num_steps)])
    assert np.array_equal(np.stack(list(streams)), read)
    assert np.array_equal(np.stack([streams.window(i) for i in range(len(streams))]), read)
    trained = finished.model(streams.arm).parent / "record.json"
    assert f'"num_tokens": {read.size}' in trained.read_text(encoding="utf-8")


def test_torch_and_datasets_views_agree(streams):
    ours, theirs = streams.to_torch(), streams.to_datasets()
    assert len(ours) == len(theirs) == len(streams)
    for index in (0, len(streams) // 2, len(streams) - 1):
        assert ours[index]["input_ids"].tolist() == theirs[index]["input_ids"] == theirs[index]["labels"]
        assert ours[index]["labels"].dtype == torch.int64
    loader = torch.utils.data.DataLoader(ours, batch_size=streams.batch_size)
    for step, batch in enumerate(loader):
        assert np.array_equal(batch["input_ids"].numpy(), streams.batch(step)[0])


def test_seeds_differ_and_are_refused_when_there_is_none(finished):
    first, second = finished.streams("simple", 0), finished.streams("simple", 1)
    assert not np.array_equal(np.stack(list(first)), np.stack(list(second)))
    with pytest.raises(InputError, match="no seed 7"):
        finished.streams("simple", 7)
    with pytest.raises(InputError, match="no arm 'nothing'"):
        finished.streams("nothing")


def test_no_window_and_no_step_beside_those_of_the_run(finished):
    streams = finished.streams("simple")
    for index in (-1, len(streams)):
        for read in (streams.window, streams.segments, streams.text, streams.to_torch().__getitem__):
            with pytest.raises(IndexError, match=f"window {index} is not within the {len(streams)} windows"):
                read(index)
    for step in (-1, streams.num_steps):
        with pytest.raises(IndexError, match=f"step {step} is not within the {streams.num_steps} steps"):
            streams.batch(step)


def test_text_and_tokenizer_are_those_of_the_rows(streams):
    tokenizer = streams.tokenizer()
    assert tokenizer.decode(streams.window(0).tolist()) == streams.text(0)
    assert streams.window(0).max() < len(tokenizer)


def test_the_students_shape_is_the_trained_ones(finished, streams):
    from transformers import AutoConfig, LlamaForCausalLM

    shape = AutoConfig.from_pretrained(finished.model(streams.arm))
    ours = streams.model_config()
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_key_value_heads", "tie_word_embeddings"):
        assert getattr(ours, name) == getattr(shape, name), name
    model = LlamaForCausalLM(ours)
    tokens = torch.from_numpy(streams.batch(0)[0]).long()
    assert torch.isfinite(model(input_ids=tokens, labels=tokens).loss)


def test_boundaries_are_not_crossed_unnoticed(toy_recipe, tmp_path):
    recipe = megadocs.load_recipe(toy_recipe, {"stream.attention_boundary": "document"})
    streams = megadocs.run(recipe, tmp_path, until="rows", progress=False).streams("stitched")
    for refused in (streams.to_torch, streams.to_datasets, lambda: next(streams.examples())):
        with pytest.raises(InputError, match="stays within segments"):
            refused()
    item = streams.to_torch(with_segments=True)[0]
    assert np.array_equal(item["segment_ids"].numpy(), streams.batch(0)[1][0])
    assert streams.to_datasets(with_segments=True)[0]["segment_ids"] == item["segment_ids"].tolist()
