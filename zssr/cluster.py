"""A Dask cluster as an executor: connect to a scheduler, or start workers on this machine."""

import logging
import platform
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import zssr
from zssr.errors import ConfigError
from zssr.processes import ignore_sigint

logger = logging.getLogger(__name__)

_PATIENCE = 8  # seconds in which a scheduler answers


class Cluster(NamedTuple):
    """A cluster's executor, and the number of its workers when it was connected to."""

    executor: Executor
    workers: int


@contextmanager
def connect(scheduler: str | None = None, workers: int | None = None) -> Iterator[Cluster]:
    """Connect to a Dask scheduler such as "tcp://10.0.0.1:8786", or start a cluster of `workers` on this machine.

    Each worker that is started has one thread. Log records of "zssr" come from the workers to this process. In the end
    what is queued is canceled, and the workers that were started are stopped.

    Raises `ConfigError` if Dask is not installed, if no scheduler answers, and if a worker has another version of zssr,
    of torch or of Python.
    """
    with ExitStack() as stack:
        client = _open_client(stack, scheduler, workers)
        _wait_for_worker(client)
        _compare_versions(client, scheduler)
        client.forward_logging("zssr")
        executor = client.get_executor(pure=False)
        stack.callback(executor.shutdown, wait=False)
        yield Cluster(executor, len(client.nthreads()))


def _open_client(stack: ExitStack, scheduler: str | None, workers: int | None) -> Any:  # noqa: ANN401
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise ConfigError("--scheduler, --workers: need Dask; pip install 'zssr[cluster]' brings it") from error
    for name in ("distributed", "tornado", "asyncio"):  # that connections are closed is no news
        log = logging.getLogger(name)
        stack.callback(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL)
    if scheduler is None:
        options = {"dashboard_address": ":0", "memory_limit": None, "silence_logs": logging.CRITICAL}
        with ignore_sigint():
            local = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, **options)
        return stack.enter_context(distributed.Client(stack.enter_context(local)))
    try:
        return stack.enter_context(distributed.Client(scheduler, timeout=_PATIENCE))
    except (OSError, ValueError) as error:
        hint = "the command `dask scheduler` starts one and prints its address"
        raise ConfigError(f"--scheduler: no Dask scheduler answers at {scheduler}; {hint}") from error


def _wait_for_worker(client: Any) -> None:  # noqa: ANN401
    """Wait for the first worker, as long as it takes: a queue may have to start it."""
    if not client.nthreads():
        logger.warning("the scheduler has no workers yet: waiting for the first")
        client.wait_for_workers(1)


def _compare_versions(client: Any, scheduler: str | None) -> None:  # noqa: ANN401
    if scheduler is None:
        return
    ours = describe_versions()
    for worker, theirs in client.run(describe_versions, on_error="return").items():
        if theirs != ours:
            has = theirs if isinstance(theirs, str) else f"no such zssr ({type(theirs).__name__})"
            raise ConfigError(f"--scheduler: the worker {worker} has {has}, and this process has {ours}")


def describe_versions() -> str:
    """Return the versions on which results depend."""
    known: dict[str, Any] = {"zssr": zssr.__version__, "torch": None, "Python": platform.python_version()}
    with suppress(PackageNotFoundError):
        known["torch"] = version("torch")
    return ", ".join(f"{name} {number}" for name, number in known.items())
