# The images of imgpipe (deploy/README.md says how they are run):
#
#   docker build --target dagster -t imgpipe:dagster .     webserver, daemon, code server, runs, the command line
#   docker build --target runpod -t imgpipe:runpod .       the RunPod worker
#   docker build --target serve -t imgpipe:serve .         jobs over HTTP
#
# Without a GPU: --build-arg BASE=python:3.11.15-slim-bookworm --build-arg DEVICE=cpu
# Without weights, to be mounted at /models: --build-arg WEIGHTS=
#
# The bases are tags. For the same bytes for ever, give `name@sha256:...` of what was checked.
ARG PYTHON=python:3.11.15-slim-bookworm
# The CUDA runtime and what a driver must have. The libraries of torch and onnxruntime come with the locks.
ARG BASE=nvidia/cuda:13.0.3-base-ubuntu24.04

FROM ${PYTHON} AS python

FROM ${BASE} AS system
# What Python's own modules link to, by names that both Debian 12 and Ubuntu 24.04 know.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libbz2-1.0 libffi8 liblzma5 \
        libncursesw6 libreadline8 libsqlite3-0 libssl3 libuuid1 zlib1g \
    && rm -rf /var/lib/apt/lists/*
COPY --from=python /usr/local /usr/local
RUN ldconfig && python3 -c "import bz2, ctypes, curses, lzma, readline, sqlite3, ssl, uuid, zlib"
ENV PATH=/opt/imgpipe/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore

FROM system AS packages
WORKDIR /build
COPY requirements.lock requirements-networks.lock ./
RUN python3 -m venv /opt/imgpipe \
    && pip install --no-deps --require-hashes --requirement requirements.lock --requirement requirements-networks.lock
ARG DEVICE=gpu
COPY deploy/locks/gpu.lock ./
RUN case "${DEVICE}" in \
        gpu) pip install --no-deps --require-hashes --requirement gpu.lock ;; \
        cpu) ;; \
        *) echo "DEVICE: expected gpu or cpu, got '${DEVICE}'" >&2; exit 1 ;; \
    esac

FROM packages AS built
COPY pyproject.toml README.md LICENSE ./
COPY imgpipe ./imgpipe
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip install --no-deps --no-index /wheels/*.whl
# Size and sha256 are checked after the download.
ARG WEIGHTS="isnet-anime realesrgan-anime-6b"
# hadolint ignore=SC2086
RUN mkdir /models \
    && if [ -n "${WEIGHTS}" ]; then imgpipe models pull --model-dir /models ${WEIGHTS}; fi

FROM system AS common
RUN useradd --uid 10001 --user-group --create-home imgpipe \
    && install --directory --owner imgpipe --group imgpipe /dagster /output
COPY --from=packages /opt/imgpipe /opt/imgpipe
COPY --from=built /models /models
ENV PYTHONUNBUFFERED=1 IMGPIPE_MODEL_DIR=/models
# Docker wants 0 or 1. It takes some 3 seconds of one core, and on a GPU a few hundred MB, as all that uses CUDA.
HEALTHCHECK --interval=5m --timeout=1m --start-period=1m --retries=2 \
    CMD ["sh", "-c", "imgpipe doctor --read-only || exit 1"]

FROM common AS runpod
COPY deploy/locks/runpod.lock /wheels/
RUN pip install --no-deps --require-hashes --requirement /wheels/runpod.lock
COPY --from=built /wheels /wheels
RUN pip install --no-deps --no-index /wheels/*.whl && pip check
USER 10001:10001
WORKDIR /output
ENTRYPOINT ["python", "-m", "imgpipe.worker"]

FROM common AS serve
COPY deploy/locks/serve.lock /wheels/
RUN pip install --no-deps --require-hashes --requirement /wheels/serve.lock
COPY --from=built /wheels /wheels
RUN pip install --no-deps --no-index /wheels/*.whl && pip check
ENV IMGPIPE_OUTPUT=/output
USER 10001:10001
WORKDIR /output
EXPOSE 8080
HEALTHCHECK --interval=5m --timeout=1m --start-period=1m --retries=2 \
    CMD ["sh", "-c", "python -c 'import urllib.request as r; r.urlopen(\"http://127.0.0.1:8080/health\", timeout=20)' && imgpipe doctor --read-only || exit 1"]
# Needs IMGPIPE_SERVE_TOKEN: it listens on all addresses of the container.
ENTRYPOINT ["imgpipe", "serve", "--host", "0.0.0.0", "--port", "8080"]

FROM common AS dagster
COPY deploy/locks/dagster.lock /wheels/
RUN pip install --no-deps --require-hashes --requirement /wheels/dagster.lock
COPY --from=built /wheels /wheels
RUN pip install --no-deps --no-index /wheels/*.whl && pip check
COPY --chown=10001:10001 imgpipe/resources/dagster.yaml /dagster/dagster.yaml
ENV DAGSTER_HOME=/dagster
USER 10001:10001
WORKDIR /dagster
EXPOSE 3000
# No entry point: Dagster's launchers and the services of a deployment give whole commands.
ENTRYPOINT []
CMD ["python", "-m", "imgpipe.webserver", "--host", "0.0.0.0", "--port", "3000", "--module-name", "imgpipe.definitions"]
