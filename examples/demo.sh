#!/bin/sh
# What `make demo` runs: PDANet trains on drawn scenes, is scored, paints a scene, is exported.
set -eu
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
cd "$(dirname "$0")/.."
run="demo/$(date +%Y-%m-%d_%H-%M-%S)"

echo "1. Train (about three minutes on two cores)"
# In drawn scenes colours tell the classes apart, so that they stay as they are.
pdanet-tf train --output-dir "$run" --epochs 3 --steps-per-epoch 40 --learning-rate 0.03 \
    --nesterov --color-jitter 0

echo "2. Score"
pdanet-tf evaluate --model "$run/best.keras" --json "$run/scores.json"

echo "3. Paint"
python examples/draw_scene.py "$run/scene.png" 1
pdanet-tf predict "$run/scene.png" --model "$run/best.keras" --output "$run"

echo "4. Export, and ask as TensorFlow Serving would"
python examples/serve.py "$run/best.keras" "$run/serving/1" "$run/scene.png" "$run/served_labels.png"

echo "Look at $run/scene_overlay.png"
