# syntax=docker/dockerfile:1
# One image for every process of the pipeline; the command says which: `pipeline worker`.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# The build tool is locked with the development tools. It does not reach the last stage.
COPY requirements/dev.txt ./
RUN sed -n '/^setuptools==/,/[^\\]$/p' dev.txt > tools.txt \
    && pip install --require-hashes --only-binary :all: -r tools.txt

# Both image engines. There is no compiler here: what has no wheel is pure Python.
COPY requirements/vips.txt ./
RUN pip wheel --require-hashes --only-binary :all: --no-binary pyvips --no-build-isolation \
        --wheel-dir wheels -r vips.txt \
    && python -m venv --without-pip /opt/pipeline \
    && pip --python /opt/pipeline/bin/python install --no-index --no-deps wheels/*.whl

# Descriptions of the 400 services of AWS that are not S3.
RUN find /opt/pipeline/lib/*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 -exec rm -r {} +

COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir own . \
    && pip --python /opt/pipeline/bin/python install --no-index --no-deps own/*.whl


FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /tmp pipeline \
    && install --directory --owner pipeline --group pipeline /data
COPY --from=build /opt/pipeline /opt/pipeline
# DATA_DIR is for `pipeline embedded` alone, the one process that keeps files.
ENV PATH=/opt/pipeline/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DATA_DIR=/data
USER 10001:10001
EXPOSE 8080 9091 9092
CMD ["pipeline", "--help"]
