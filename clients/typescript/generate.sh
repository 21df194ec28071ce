#!/bin/sh
# Generates the stubs into the folders `pairwise` and `google` beside this file, with the packages of `npm ci`.
set -eu
cd "$(dirname "$0")/../.."
PATH=$PWD/node_modules/.bin:$PATH exec buf generate --template clients/typescript/buf.gen.yaml \
  --path proto/pairwise --path node_modules/google-proto-files/google/rpc/error_details.proto
