#!/bin/sh
# Generates the stubs into the package `pairwise` beside this file, with the packages of requirements.txt.
set -eu
cd "$(dirname "$0")"
site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
exec python -m grpc_tools.protoc -I../../proto -I"$site" --python_out=. --pyi_out=. --grpc_python_out=. ../../proto/pairwise/v1/*.proto
