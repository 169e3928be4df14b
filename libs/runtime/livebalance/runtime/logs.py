"""Structured logs: one line per event on standard error, as JSON or text, without secrets."""

import logging
import sys
import time
from typing import Literal

import structlog

from livebalance.runtime import redact

# Loggers of events that any client can cause. They are rate limited, so that clients cannot fill the disk.
CLIENT_LOGGERS = ("http", "redis", "session", "sse", "websocket")
_CLIENT_LINES_PER_SECOND = 20
_KAFKA_LINES_PER_SECOND = 5  # while a broker is down, aiokafka logs 80


class _RateLimitFilter(logging.Filter):
    """Passes at most `per_second` records a second; the next record that passes has the number suppressed."""

    def __init__(self, per_second: int) -> None:
        super().__init__()
        self._per_second = per_second
        self._second, self._count, self._suppressed = 0, 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by logging for each record."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        if self._count > self._per_second:
            self._suppressed += 1
            return False
        if self._suppressed:
            self._add_suppressed(record)
            self._suppressed = 0
        return True

    def _add_suppressed(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, dict):  # an event of structlog
            record.msg = {**record.msg, "suppressed_lines": self._suppressed}
        else:
            record.msg = f"{record.getMessage()} ({self._suppressed} lines suppressed)"
            record.args = None


def configure(name: str, log_format: Literal["json", "text"], level: str) -> None:
    """Configures structlog and the loggers of libraries. `name` is the field `process` of each line.

    Called once per process, before anything else.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [_escape_control_characters, structlog.dev.ConsoleRenderer(colors=False)]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    final: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _redact,
        *renderers,
    ]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.getLogger("aiokafka.consumer.subscription_state").setLevel(logging.WARNING)  # each reader logs
    kafka_loggers = ("aiokafka", "aiokafka.conn", "aiokafka.client", "aiokafka.cluster")
    _limit(_RateLimitFilter(_KAFKA_LINES_PER_SECOND), *kafka_loggers)
    _limit(_RateLimitFilter(_CLIENT_LINES_PER_SECOND), *CLIENT_LOGGERS)
    structlog.contextvars.bind_contextvars(process=name)


def _limit(rate_limit: _RateLimitFilter, *names: str) -> None:
    for name in names:
        logger = logging.getLogger(name)
        for previous in [each for each in logger.filters if isinstance(each, _RateLimitFilter)]:
            logger.removeFilter(previous)
        logger.addFilter(rate_limit)


def _redact(
    _: structlog.typing.WrappedLogger, __: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    trace = line.pop("exception", None)
    clean: structlog.typing.EventDict = redact.value(line)
    if trace is not None:
        clean["exception"] = redact.text(str(trace), redact.MAX_TRACE)
    return clean


def _escape_control_characters(
    _: structlog.typing.WrappedLogger, __: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return {
        key: redact.one_line(value) if isinstance(value, str) and key != "exception" else value
        for key, value in line.items()
    }


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Returns the logger called `name`, which is the field `logger` of each line."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
