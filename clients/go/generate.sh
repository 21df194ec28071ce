#!/bin/sh
# Generates the stubs into the package `pairwise/v1` beside this file. It needs Go, and the packages of `npm ci` for buf.
set -eu
cd "$(dirname "$0")"
GOBIN=$PWD/bin && export GOBIN
go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.10
go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1
cd ../..
PATH=$GOBIN:$PATH exec node_modules/.bin/buf generate proto --template clients/go/buf.gen.yaml
