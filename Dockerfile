# One image for every role; compose.yaml says which command each container runs.
# `make run` needs none of this: it is the way to production.

FROM python:3.12-slim AS packages
COPY requirements/run.txt /tmp/run.txt
RUN python -m venv /opt/atelier \
    && /opt/atelier/bin/pip install --no-cache-dir --disable-pip-version-check --no-compile \
        --require-hashes --no-deps --only-binary :all: --requirement /tmp/run.txt

FROM python:3.12-slim
# The number is fixed, so that a volume keeps its owner from one release to the next.
RUN groupadd --gid 10001 atelier \
    && useradd --uid 10001 --gid atelier --no-create-home --home-dir /var/lib/atelier --shell /usr/sbin/nologin atelier \
    && install --directory --owner=atelier --group=atelier --mode=0750 /var/lib/atelier

COPY --from=packages /opt/atelier /opt/atelier
WORKDIR /app
COPY api api
COPY cli cli
COPY domain domain
COPY migrations migrations
COPY queue_config queue_config
COPY runtime runtime
COPY storage storage
COPY workers workers
# `docker compose exec api atelier doctor`
RUN printf '#!/bin/sh\nPYTHONPATH=/app exec python -m cli.main "$@"\n' > /opt/atelier/bin/atelier \
    && chmod 755 /opt/atelier/bin/atelier
# Compiled here, once: the file system of a running container is read-only.
RUN /opt/atelier/bin/python -m compileall -q -j 0 /opt/atelier/lib /app

ENV PATH=/opt/atelier/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ATELIER_DATA_DIR=/var/lib/atelier
USER 10001:10001
VOLUME /var/lib/atelier
EXPOSE 8000
ENTRYPOINT ["python", "-m", "cli.main"]
CMD ["--help"]
