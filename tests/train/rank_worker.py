"""One rank of a distributed test run, started by torchrun: `rank_worker.py OUTPUT_DIR JSON_OPTIONS`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch

from megadocs.errors import MegadocsError
from train.runs import read_random, train, train_config


def main():
    torch.set_num_threads(1)
    output_dir, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    rank = int(os.environ["RANK"])

    def read_batch(step):
        if step == options.get("die_at") and rank == options["rank"]:
            os._exit(9)
        if step == options.get("hang_at") and rank == options["rank"]:
            time.sleep(600)
            print("this rank went on", file=sys.stderr, flush=True)
        if step == options.get("stop_at"):
            os._exit(7)
        return read_random(step)

    if rank == options.get("poison_rank"):
        import megadocs.train.loop as loop

        to_tensors = loop.to_tensors

        def poisoned(batch, *arguments, step, **rest):
            if step == options["poison_at"]:
                loop_model[0].lm_head.weight.data.view(-1)[0] = float("nan")
            return to_tensors(batch, *arguments, step=step, **rest)

        loop_model = []
        build = loop.build_student

        def remember(*arguments, **rest):
            student = build(*arguments, **rest)
            loop_model.append(student.model)
            return student

        loop.to_tensors, loop.build_student = poisoned, remember
    try:
        train(output_dir, config=train_config(**options.get("config", {})), read_batch=read_batch)
    except MegadocsError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
