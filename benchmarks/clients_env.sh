#!/bin/sh
# An environment of its own for clients whose dependencies are no extras of this package:
#     sh benchmarks/clients_env.sh FOLDER
#     FOLDER/bin/python benchmarks/clients.py --only stable-ts --only whisper-timestamped --cache CACHE
set -eu
test $# -eq 1 || { echo "usage: sh benchmarks/clients_env.sh FOLDER" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
python3 -m venv "$1"
"$1/bin/pip" install -c "$root/constraints.txt" -e "$root[demo,transformers]" stable-ts whisper-timestamped
# stable-ts imports torchaudio, whose wheel on PyPI is built for CUDA and cannot be loaded beside a torch for CPUs.
# Without its compiled part torchaudio is Python alone, of which stable-ts calls nothing but resampling and filters.
if ! "$1/bin/python" -c "import torchaudio" 2>/dev/null; then
    rm -f "$1"/lib/python3*/site-packages/torchaudio/lib/*.so
    "$1/bin/python" -c "import torchaudio"
fi
"$1/bin/python" -c "import stable_whisper, whisper_timestamped"
