"""What every service shows of its processes."""

from deploy.observability.boards.board import Row
from deploy.observability.boards.panel import Panel, Query


def rate(metric: str, by: str = "", where: str = "") -> str:
    """A counter a second; `by`: labels with commas between."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{where}[$__rate_interval]))"


def quantile(share: float, histogram: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket[$__rate_interval])))"


def mean(histogram: str, by: str) -> str:
    """Seconds a second spent: what of a core's time, or of a wait, goes where."""
    return f"sum by ({by}) (rate({histogram}_sum[$__rate_interval]))"


def processes(service: str) -> Row:
    of = f' * on (job, instance) group_left () livebalance_info{{service="{service}"}}'
    return Row(
        "Processes",
        [
            Panel(
                "CPU",
                [Query(f"rate(process_cpu_seconds_total[$__rate_interval]){of}", "{{instance}}")],
                "Of one core: a process has one thread that does the work.",
                "percentunit",
            ),
            Panel(
                "Memory", [Query(f"process_resident_memory_bytes{of}", "{{instance}}")], "Resident.", "bytes"
            ),
            Panel(
                "Up for",
                [Query(f"(time() - process_start_time_seconds){of}", "{{instance}}")],
                "Falls to 0 when a process begins anew.",
                "s",
            ),
        ],
    )
