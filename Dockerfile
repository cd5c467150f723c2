# The image of flowrunner. The first stage makes an environment from the lock files of deploy/, each file checked by
# its hash; only that environment goes into the second.
#
# Another base (Debian with Python 3.11 or newer and its venv):  --build-arg BASE=...
# An own package index: a pip configuration file, seen by pip and kept nowhere:  --secret id=pip,src=pip.conf
# A proxy: HTTPS_PROXY of the builder, or --build-arg HTTPS_PROXY=..., which is not kept either.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY deploy/build.lock deploy/requirements.lock deploy/
# Only wheels: what a source package builds with has no hash here. The environment gets no pip: nothing is installed
# once it runs.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/build \
    && python3 -m venv --without-pip /opt/flowrunner \
    && pip="/opt/build/bin/pip --no-cache-dir --disable-pip-version-check" \
    && $pip install --require-hashes --only-binary :all: --requirement deploy/build.lock \
    && $pip --python /opt/flowrunner install --require-hashes --only-binary :all: --requirement deploy/requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY flowrunner flowrunner
COPY nodes nodes
COPY schemas schemas
COPY flows flows
# Nothing is fetched any more; a library that the lock lacks ends the build.
RUN pip="/opt/build/bin/pip --no-cache-dir --disable-pip-version-check" \
    && $pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
    && $pip --python /opt/flowrunner install --no-index --no-deps /wheels/*.whl \
    && $pip --python /opt/flowrunner check

FROM ${BASE}
# A fixed number, so that volumes fit after an update and a cluster can check that it is not root.
RUN groupadd --gid 10001 flowrunner \
    && useradd --no-create-home --uid 10001 --gid 10001 --home-dir /data --shell /usr/sbin/nologin flowrunner \
    && install --directory --owner 10001 --group 10001 --mode 0750 /data
COPY --from=build /opt/flowrunner /opt/flowrunner
COPY flows /flows
ENV PATH=/opt/flowrunner/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 9000

# Straight to itself: a proxy of the surroundings must not answer for it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python3", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:9000/health/live', timeout=4)"]

# Beyond loopback it starts only with FLOWRUNNER_API_KEY and BESS_API_KEY set.
CMD ["flowrunner", "run", "/flows/bess.yaml", "--host", "0.0.0.0", "--data", "/data", "--log", "json"]
