"""A 20M student end to end: trained, killed, resumed, exported, loaded by transformers and by lm-eval.

`showcase_20m.py [OUT.json] [--lm-eval PYTHON]`. On made-up documents, 16 x 256, bfloat16, one thread, a few steps:

1. `megadocs train` is started, killed with its worker (SIGKILL) after a checkpoint, and started again: it resumes and
   publishes. The same run without a kill must give the same weights, byte for byte.
2. transformers loads the model folder; its float32 logits on a batch equal the student's to 1e-4.
3. lm-eval, through megadocs' adapter and through its own `hf` model, scores the same rolling log-likelihoods of two
   texts (`--lm-eval`: a Python that has lm-eval; this one if it has, left out otherwise).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_resume import kill, last_step, start, wait_for_step, write_inputs

LM_EVAL = """
import json, sys
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from megadocs.evaluate.benchmarks.language_model import MegadocsLM
folder, texts = sys.argv[1], json.loads(sys.argv[2])
requests = [Instance("loglikelihood_rolling", {}, (text,), index) for index, text in enumerate(texts)]
ours = MegadocsLM(folder)
theirs = HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=1)
print(json.dumps({"adapter": list(map(float, ours.loglikelihood_rolling(requests))),
                  "hf": list(map(float, theirs.loglikelihood_rolling(requests)))}))
"""


def train_and_finish(recipe: Path, workspace: Path, *, kill_after: int | None) -> Path:
    """The published model folder; with `kill_after`, killed once after that step and resumed."""
    if kill_after is not None:
        process = start(recipe, workspace)
        wait_for_step(workspace, kill_after, process)
        kill(process)
        print(f"killed after step {last_step(workspace)}", flush=True)
    process = start(recipe, workspace)
    if process.wait() != 0:
        sys.exit(f"training failed; see {workspace}/logs")
    (model,) = workspace.glob("train/*/model")
    return model


def compare_logits(folder: Path) -> float:
    """Largest difference between transformers' logits and the student's, float32."""
    import torch
    from transformers import AutoModelForCausalLM

    from megadocs.model.hf_import import import_hf

    tokens = torch.randint(0, 8192, (2, 256), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(tokens).logits
        ours = import_hf(folder)(tokens)
    return float((theirs - ours).abs().max())


def score_with_lm_eval(python: str, folder: Path, texts: list[str]) -> dict[str, list[float]]:
    paths = [str(Path(__file__).resolve().parents[1] / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    command = [python, "-c", LM_EVAL, str(folder), json.dumps(texts)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"lm-eval failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--lm-eval", metavar="PYTHON")
    parser.add_argument("--epochs", type=float, default=2.0)
    arguments = parser.parse_args()
    python = arguments.lm_eval or (sys.executable if importlib.util.find_spec("lm_eval") else None)
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))
    try:
        recipe = write_inputs(folder, "20m")
        recipe.write_text(recipe.read_text().replace("real_epochs: 400", f"real_epochs: {arguments.epochs}"))
        broken = train_and_finish(recipe, folder / "broken", kill_after=3)
        whole = train_and_finish(recipe, folder / "whole", kill_after=None)
        same = (broken / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
        report: dict[str, object] = {
            "summary": json.loads((broken.parent / "summary.json").read_text()),
            "killed_and_whole_weights_are_the_same_bytes": same,
            "largest_logit_difference_to_transformers": compare_logits(broken),
        }
        if python is not None:
            texts = [path.read_text()[:2000] for path in sorted((folder / "texts").iterdir())[:2]]
            report["lm_eval_rolling_loglikelihoods"] = score_with_lm_eval(python, broken, texts)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(report, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
