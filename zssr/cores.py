"""How many processor cores this process may use."""

import math
import os
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")
_MOUNTED = Path("/sys/fs/cgroup")


def count_cores() -> int:
    """Return the number of cores by the process's affinity and its control group's quota, which is rounded down."""
    # a group that takes more than its quota is stopped as a whole until the next period begins
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(cores, _read_quota(_GROUPS, _MOUNTED))))


def _read_quota(groups: Path, mounted: Path) -> float:
    """Return the cores that control groups (version 1 or 2) grant the process: the least of its group and those above.

    Lines of `groups` are `number:controllers:path`; a container sees its own group as the root that is `mounted`.
    """
    quotas = [math.inf]
    for line in _read(groups).splitlines():
        *_, controllers, path = ["", "", *line.split(":", 2)]
        root = mounted / controllers if controllers else mounted
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = root / path.lstrip("/")
        for folder in [group, *group.parents]:
            quotas.append(_divide(_read(folder / "cpu.max").split()))
            quotas.append(_divide([_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]))
            if folder == root:
                break
    return min(quotas)


def _divide(quota: list[str]) -> float:
    """Return quota over period in microseconds; no quota is "max", or negative."""
    try:
        share = float(quota[0]) / float(quota[1])
    except (IndexError, ValueError, ZeroDivisionError):
        return math.inf
    return share if share > 0 else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
