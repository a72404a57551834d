#!/usr/bin/env bash
# install.sh PEER...: makes the environment of fastai or autogluon under $AUTOCLIMB_PEERS, outside the checkout, and puts
# the EfficientNet-Lite weights there that autoclimb comes with. 5 to 6 GB a peer, some minutes.
# --no-config: the versions that autoclimb pins are not the peers'.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
place=${AUTOCLIMB_PEERS:-$HOME/.cache/autoclimb-peers}
mkdir -p "$place"
for peer in "${@:?name fastai or autogluon}"; do
  case $peer in
    fastai) packages=(fastai==2.8.12 timm safetensors) ;;
    autogluon) packages=(autogluon.multimodal==1.6.3) ;;
    *) echo "no peer $peer; there are fastai and autogluon" >&2; exit 2 ;;
  esac
  [ -x "$place/$peer/bin/python" ] || uv venv --python 3.11 "$place/$peer"
  uv pip install --no-config --python "$place/$peer/bin/python" "${packages[@]}"
done
${PYTHON:-uv run python} "$here/export_weights.py" "$place"
