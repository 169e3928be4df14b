"""PromQL helpers, and the row of process panels that every service's dashboard has."""

from deploy.observability.boards.board import Row
from deploy.observability.boards.panel import Panel, Query


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Returns PromQL for a counter per second; `by` is a comma-separated list of labels."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{where}[$__rate_interval]))"


def quantile(share: float, histogram: str, by: str = "") -> str:
    """Returns PromQL for a quantile of a histogram; `by` is a comma-separated list of labels."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket[$__rate_interval])))"


def time_spent(histogram: str, by: str) -> str:
    """Returns PromQL for the seconds spent per second, for each value of the label `by`."""
    return f"sum by ({by}) (rate({histogram}_sum[$__rate_interval]))"


def processes(service: str | None = None) -> Row:
    """Returns a row with CPU, memory and uptime of each process, of one service or of all."""
    which = f'{{service="{service}"}}' if service else ""
    only = f" * on (job, instance) group_left () livebalance_info{which}"
    return Row(
        "Processes",
        [
            Panel(
                "CPU",
                [Query(f"rate(process_cpu_seconds_total[$__rate_interval]){only}", "{{instance}}")],
                "Share of one core: a process does its work in a single thread.",
                "percentunit",
            ),
            Panel(
                "Memory",
                [Query(f"process_resident_memory_bytes{only}", "{{instance}}")],
                "Resident memory.",
                "bytes",
            ),
            Panel(
                "Uptime",
                [Query(f"(time() - process_start_time_seconds){only}", "{{instance}}")],
                "Falls to 0 when a process restarts.",
                "s",
            ),
        ],
    )
