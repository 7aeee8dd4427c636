#!/usr/bin/env bash
# Trains on 5,000 MNIST digits without a download, then writes samples and a latent walk to
# runs/quickstart/. Run it again to resume. Arguments are passed to `gan train`.
set -euo pipefail
source "$(dirname "$0")/install.sh"
run=runs/quickstart

gan train configs/quickstart.yaml --run-dir "$run" "$@"
[ -d "$run/checkpoints" ] || exit 0 # after --dry-run or --help
gan sample "$run" --num 100 --out "$run/samples.png" --force
gan walk "$run" --out "$run/walk.gif" --force

cat <<EOF

Results   $run/samples.png               100 generated digits
          $run/samples/learning.gif      digits of each class during training
          $run/walk.gif                  a walk through the latent space
Try next  source .venv/bin/activate
          gan sample $run --label 7 --out sevens.png
          tensorboard --logdir runs --samples_per_plugin images=200
          gan train configs/mnist.yaml
EOF
