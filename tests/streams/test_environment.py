"""The same rows and windows under any hash seed, locale and time zone (R15)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import hashlib, sys
from pathlib import Path
from megadocs.rows import build_real_rows, build_sampled_rows, open_rows
from megadocs.recipe import MixtureConfig, StreamConfig, TrainConfig
from megadocs.streams import build_mixture, build_streams
from rows.helpers import CharacterTokenizer, documents, rephrase, write_export

work = Path(sys.argv[1])
export = write_export(work / "g.parquet", [rephrase(d.id, g) for d in documents(30) for g in range(2)])
manifests = [
    build_real_rows(documents(30), CharacterTokenizer(), work),
    build_sampled_rows("rephrase", export, CharacterTokenizer(), work, num_workers=int(sys.argv[2])),
]
store = open_rows(manifests, work)
stream, mixture = StreamConfig(ordering="stitched"), MixtureConfig(synthetic_fraction="0.5")
streams = build_streams(store.table, store.tokens, stream=stream, mixture=mixture, context_length=16, seed=3,
                        real_documents=sorted(store.table.document_ids))
train = TrainConfig(context_length=16, batch_size=4)
mixed = build_mixture(streams, config=mixture, train=train, seed=3, stream=stream)
digest = hashlib.sha256()
for step in range(mixed.num_steps):
    digest.update(repr(mixed.window_ids(step)).encode() + mixed.read_batch(step)[0].tobytes())
print([m.fingerprint for m in manifests], digest.hexdigest())
"""


def test_results_do_not_depend_on_the_environment(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    outputs = set()
    variations = [
        {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "4711", "TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8"},
    ]
    for number, variation in enumerate(variations):
        work = tmp_path / str(number)
        work.mkdir()
        path = os.pathsep.join([str(root), str(root.parent / "src"), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(work), str(1 + 3 * number)],
            env={**os.environ, **variation, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
