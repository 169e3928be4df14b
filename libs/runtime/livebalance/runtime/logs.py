"""One line per event, JSON or text, on standard error. Secrets and control characters do not reach it."""

import logging
import sys
import time
from typing import Literal

import structlog

from livebalance.runtime import redact

STRANGERS = ("socket", "stream", "door", "relay", "deltas", "http")  # loggers that tell what strangers do
_PER_SECOND = 5  # lines a library's logger may write; a broker that is down makes aiokafka write 80


_STRANGERS = 20  # lines a second about what strangers do: they cannot fill the disk either


class _Quiet(logging.Filter):
    """Lets so many records a second of its loggers through and counts the rest into the next."""

    def __init__(self, per_second: int) -> None:
        super().__init__()
        self._per_second = per_second
        self._second, self._seen, self._left_out = 0, 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._seen = second, 0
        self._seen += 1
        if self._seen > self._per_second:
            self._left_out += 1
            return False
        if self._left_out:
            self._tell(record)
            self._left_out = 0
        return True

    def _tell(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, dict):  # a line of ours
            record.msg = {**record.msg, "left_out": self._left_out}
        else:
            record.msg = f"{record.getMessage()} ({self._left_out} lines left out)"
            record.args = None


def configure(name: str, form: Literal["json", "text"], level: str) -> None:
    """For a process, once, before anything else. Libraries' loggers end in the same place."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]
        if form == "json"
        else [_on_one_line, structlog.dev.ConsoleRenderer(colors=False)]
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
        _redacted,
        *last,
    ]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    _bound(_Quiet(_PER_SECOND), "aiokafka", "aiokafka.conn", "aiokafka.client", "aiokafka.cluster")
    _bound(_Quiet(_STRANGERS), *STRANGERS)
    structlog.contextvars.bind_contextvars(process=name)


def _bound(quiet: _Quiet, *names: str) -> None:
    for name in names:
        logger = logging.getLogger(name)
        for before in [one for one in logger.filters if isinstance(one, _Quiet)]:
            logger.removeFilter(before)
        logger.addFilter(quiet)


def _redacted(
    _: structlog.typing.WrappedLogger, __: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    trace = line.pop("exception", None)
    clean: structlog.typing.EventDict = redact.value(line)
    if trace is not None:
        clean["exception"] = redact.text(str(trace), redact.MAX_TRACE)
    return clean


def _on_one_line(
    _: structlog.typing.WrappedLogger, __: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return {
        key: redact.one_line(one) if isinstance(one, str) and key != "exception" else one
        for key, one in line.items()
    }


def get(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
