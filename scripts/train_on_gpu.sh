#!/usr/bin/env bash
# On from the shipped weights on one GPU, in about nine minutes; each folder it leaves is below 16 MB.
#
#     scripts/train_on_gpu.sh [OUT [DATA [SCALE]]]
#
# OUT: folder of the trained minis (default runs/gpu). DATA: EuroSAT, as `rs-course train --data` takes it.
# SCALE: every time below is multiplied by it; .01 tries the script on a processor.
set -euo pipefail
out=${1:-runs/gpu} data=${2:-eurosat} scale=${3:-1} batch=${BATCH:-1024}
compile=$(python -c "import torch; print('--compile' if torch.cuda.is_available() else '')")

train() { # NAME MINUTES OPTIONS...
    local name=$1 minutes
    minutes=$(python -c "print($2 * $scale)")
    rs-course train "$name" --minutes "$minutes" --out "$out/$name" "${@:3}"
    rm -f "$out/$name/training.pt" # the optimiser's state: three times the weights
}

# The generators stand beside the shipped autoencoder; a student stands beside its teacher.
train mini-text2earth 3 --start mini-text2earth --data "$data" --batch-size "$batch" $compile
train mini-diffusionsat 2 --start mini-diffusionsat --batch-size "$batch" $compile
train mini-text2earth-fast 1.5 --teacher "$out/mini-text2earth" --data "$data" --batch-size "$batch" $compile
