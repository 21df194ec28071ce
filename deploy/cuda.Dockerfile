# A worker's image for NVIDIA GPUs: the image from deploy/Dockerfile on CUDA 12 and cuDNN 9, with onnxruntime's CUDA
# provider, which the npm package leaves out. The provider's archive is a local file below deploy/ or a URL; the digest is
# that of the library inside:
#
#   docker build -f deploy/cuda.Dockerfile -t pairwise/training:0.1.0-cuda \
#     --build-arg SERVICE=training --build-arg SERVICE_IMAGE=pairwise/training:0.1.0 \
#     --build-arg CUDA_PROVIDER=https://example.org/onnxruntime-linux-x64-gpu-1.30.0.tgz \
#     --build-arg CUDA_PROVIDER_SHA256=... deploy
#
# Use the archive that onnxruntime publishes with the release of the same version as `onnxruntime-node`.
ARG SERVICE_IMAGE
ARG CUDA_IMAGE=nvidia/cuda:12.9.1-cudnn-runtime-ubuntu24.04

FROM ${SERVICE_IMAGE} AS service

# ADD unpacks a local archive, but not a downloaded one.
FROM ${CUDA_IMAGE} AS provider
ARG CUDA_PROVIDER
ARG CUDA_PROVIDER_SHA256
ADD ${CUDA_PROVIDER} /archive/
RUN cd /archive \
  && for file in *.tgz; do if [ -e "$file" ]; then tar -xzf "$file"; fi; done \
  && mkdir /provider \
  && find . -name 'libonnxruntime_providers_cuda.so' -o -name 'libonnxruntime_providers_shared.so' \
    | xargs cp -t /provider \
  && echo "${CUDA_PROVIDER_SHA256:?is the sha256 of libonnxruntime_providers_cuda.so}  /provider/libonnxruntime_providers_cuda.so" \
    | sha256sum --check

FROM ${CUDA_IMAGE}
COPY --from=service /usr/local/bin/node /usr/local/bin/node
COPY --from=service /app /app
COPY --from=service --chown=65532:65532 /var/lib/pairwise /var/lib/pairwise
COPY --from=service --chown=65532:65532 /var/cache/pairwise /var/cache/pairwise
COPY --from=provider /provider/ /app/node_modules/onnxruntime-node/bin/napi-v6/linux/x64/
ARG SERVICE
LABEL org.opencontainers.image.title="Pairwise ${SERVICE} for CUDA" \
  org.opencontainers.image.licenses="Apache-2.0"
# See libs/platform/lifecycle/allocator.ts for the last one.
ENV NODE_ENV=production PAIRWISE_DATA=/var/lib/pairwise PAIRWISE_CACHE=/var/cache/pairwise PAIRWISE_DEVICE=cuda MALLOC_TRIM_THRESHOLD_=131072
USER 65532:65532
WORKDIR /app/services/${SERVICE}
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/node"]
CMD ["worker.ts"]
