#!/bin/sh
# An environment of its own for clients whose dependencies are no extras of this package:
#     sh benchmarks/clients_env.sh FOLDER && FOLDER/bin/python benchmarks/clients.py --only stable-ts --only whisper-timestamped --cache CACHE
set -eu
test $# -eq 1 || { echo "usage: sh benchmarks/clients_env.sh FOLDER" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
python3 -m venv "$1"
"$1/bin/pip" install --upgrade pip
"$1/bin/pip" install -c "$root/constraints.txt" -e "$root[demo,transformers]" stable-ts whisper-timestamped
