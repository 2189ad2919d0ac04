# imgpipe and everything it runs on, without weights: mount them, or `imgpipe models pull` into the volume.
#
#   docker build -t imgpipe .                                   CPU
#   docker build -t imgpipe --build-arg EXTRA=gpu .             GPU (run with --gpus all)
#   docker run --rm -v /art:/in -v /results:/out -v /weights:/models imgpipe run --source /in --output /out
FROM python:3.11-slim-bookworm

ARG EXTRA=cpu
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 DAGSTER_HOME=/dagster IMGPIPE_MODEL_DIR=/models

WORKDIR /app
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY imgpipe ./imgpipe
# The lock is what the extra cpu runs on, with hashes. Of another extra, what the lock lacks (onnxruntime-gpu,
# dagster-postgres) is taken in its newest release, without.
RUN pip install --no-deps --require-hashes --requirement requirements.lock \
    && pip install --no-deps --no-build-isolation . \
    && if [ "${EXTRA}" != cpu ]; then pip install --no-build-isolation ".[${EXTRA}]"; fi

RUN useradd --create-home imgpipe && mkdir /dagster /models && chown imgpipe /dagster /models
USER imgpipe
VOLUME ["/dagster", "/models"]
EXPOSE 3000

ENTRYPOINT ["imgpipe"]
CMD ["--help"]
