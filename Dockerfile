# The image of flowrunner: the wheel is built in the first stage, only its environment goes into the second.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY flowrunner flowrunner
COPY nodes nodes
COPY schemas schemas
COPY flows flows
RUN python3 -m venv /opt/flowrunner \
    && /opt/flowrunner/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /opt/flowrunner/bin/pip install --no-cache-dir /wheels/*.whl

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
