#!/usr/bin/env bash
# Everything that only a GPU can show, in at most ten minutes: gpu_check.sh [OUT.json] [--tiny]
#
#   benchmarks/gpu_check.sh gpu.json           # one CUDA GPU of 80 GB
#   benchmarks/gpu_check.sh gpu.json --tiny    # every line of it on a CPU, in two or three minutes; its speeds mean nothing
#
# Checks first (logits, loss, boundaries, repetition, resume, sampling, FSDP2 on one rank), then speeds: 300m at 4,096
# compiled, 1_5b in one device's memory. Each part has a time limit of its own; one that fails does not stop the others.
# OUT.json (gpu_check.json) has the machine, versions and every part's result; the exit code is 1 if any part failed.
# PEER_ARGS="--peer NAME DIR COMMAND PATTERN" runs another trainer beside the 300m (see bench_train_gpu.py).
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=gpu_check.json
tiny=()
patience=1
for argument in "$@"; do
  if [ "$argument" = --tiny ]; then tiny=(--tiny) patience=8; else out=$argument; fi
done
python=${PYTHON:-python3}
export PYTHONPATH=$here/../src${PYTHONPATH:+:$PYTHONPATH}
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT

part() { # part NAME SECONDS COMMAND...: the command writes $parts/NAME.json
  local name=$1 limit=$(($2 * patience)) started=$SECONDS
  shift 2
  echo "== $name (at most $limit s)" >&2
  timeout "$limit" "$@" >"$parts/$name.log" 2>&1
  local code=$?
  echo "$name $code $((SECONDS - started))" >>"$parts/codes"
  [ $code = 0 ] || tail -n 20 "$parts/$name.log" >&2
}

for check in logits loss boundaries repetition resume sampling fsdp; do
  part "$check" 60 "$python" "$here/gpu_check.py" "$check" "$parts/$check.json" "${tiny[@]}"
done
eval "peer=(${PEER_ARGS:-})"
part train_300m 240 "$python" "$here/bench_train_gpu.py" "$parts/train_300m.json" --steps 12 "${tiny[@]}" "${peer[@]}"
part train_1_5b 150 "$python" "$here/bench_train_gpu.py" "$parts/train_1_5b.json" --preset 1_5b --batch 8 --steps 6 \
  --micro-batch 1 "${tiny[@]}"
"$python" "$here/gpu_check.py" collect "$out" --parts "$parts"
