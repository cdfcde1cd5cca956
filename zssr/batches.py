"""Many images at once, on any executor: processes, threads, Dask, MPI, SLURM."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from torch import Tensor

from zssr.config import Config
from zssr.executors import WINDOW, InlineExecutor, run_calls, share
from zssr.images import Array
from zssr.io.metadata import Keep
from zssr.io.reading import FileSource
from zssr.model import Model, Result
from zssr.progress import ProgressCallback
from zssr.request import Request, Scale

if TYPE_CHECKING:
    from zssr.slides.slide_run import SlideResult

KeyT = TypeVar("KeyT")
ImageT = TypeVar("ImageT", bound=Array | Tensor | None)

_ARRAYS_AT_ONCE = 64


@dataclass(frozen=True)
class Outcome(Generic[KeyT, ImageT]):
    """What came of one of many images.

    Attributes
    ----------
    key
        Which one it is: a pair (source, output) of files, or the number of an array, from 0.
    result
        The result; None if it failed.
    error
        Why it failed: a `ZssrError`, or what became of the worker.
    """

    key: KeyT
    result: Result[ImageT] | None = None
    error: Exception | None = None


class BatchRunner:
    """What an `Upscaler` does with many images; see there for `config`."""

    config: Config

    def run_files(
        self,
        files: Iterable[tuple[FileSource, str | Path]],
        request: Request | Scale = 2.0,
        *,
        executor: Executor | None = None,
        model: Model | None = None,
        keep: Keep = "all",
        allow_loss: bool = False,
        quality: int | None = None,
    ) -> Iterator[Outcome[tuple[FileSource, str | Path], None]]:
        """Upscale picture files (source, output) as `run_file` does, and yield what came of each as it ends.

        One that fails stops no other. The executor is any of `concurrent.futures`, such as a `ProcessPoolExecutor` or
        Dask's `client.get_executor()`, whose workers see the files at the same paths; None does one after the other.
        """
        options = {"model": model and model.pack(), "keep": keep, "allow_loss": allow_loss, "quality": quality}
        return self._run_each("run_file", ((pair, pair) for pair in files), request, options, executor, WINDOW)

    def run_arrays(
        self,
        arrays: Iterable[ImageT],
        request: Request | Scale = 2.0,
        *,
        executor: Executor | None = None,
        model: Model | None = None,
    ) -> Iterator[Outcome[int, ImageT]]:
        """Upscale arrays or tensors as `run` does, and yield what came of each as it ends; see `run_files`."""
        items = ((number, (array,)) for number, array in enumerate(arrays))
        return self._run_each("run", items, request, {"model": model and model.pack()}, executor, _ARRAYS_AT_ONCE)

    def run_slide(
        self,
        source: str | Path,
        output: str | Path,
        request: Request | Scale = 2.0,
        *,
        executor: Executor | None = None,
        region: tuple[int, int, int, int] | None = None,
        block: int | None = None,
        adaptive: bool = False,
        resume: bool = False,
        progress: ProgressCallback = lambda _: None,
    ) -> "SlideResult":
        """Upscale an image of any size, block by block, each worker of the executor writing its own.

        Parameters
        ----------
        source, output
            An OME-Zarr store, another Zarr array, or a TIFF file (OME-TIFF and GeoTIFF, too); and the OME-Zarr store to
            write, with coarser levels, and with the place on the map or slide scaled.
        region
            A box (left, top, width, height) of the source; only this is upscaled, into a picture file, to try it.
        block
            Height of blocks in pixels of the output; they are the chunks of the store. Any gives the same pixels.
        adaptive
            Whether large regions are learned from anew where the blur, noise or compression differs from that of the
            whole; otherwise it is learned once, from crops of all over the image.
        resume
            Whether a store that is there is gone on with: what is done, by its checksum, is kept.
        progress
            Called after each block.

        Raises `ZssrError`; if blocks failed, the others are done.
        """
        from zssr.slides.slide_run import SlideRun  # other images do not wait for them
        from zssr.slides.upscale_slide import upscale_slide, upscale_slide_region

        request = Request.of(request)
        run = SlideRun(executor or InlineExecutor(), block, adaptive, resume, progress)
        if region:
            return upscale_slide_region(Path(source), Path(output), region, request, self.config, run)
        return upscale_slide(Path(source), Path(output), request, self.config, run)

    def _run_each(
        self,
        method: str,
        items: Iterable[tuple[KeyT, tuple[Any, ...]]],
        request: Request | Scale,
        options: dict[str, Any],
        executor: Executor | None,
        window: int,
    ) -> Iterator[Outcome[KeyT, ImageT]]:
        executor, window = (InlineExecutor(), 1) if executor is None else (executor, window)
        options = share(executor, options)

        def submit(item: tuple[KeyT, tuple[Any, ...]]) -> Future[Any]:
            return executor.submit(_run_one, type(self), self.config, method, (*item[1], request), options)

        for (key, _), future in run_calls(submit, items, window=window):
            yield _collect(key, future)


def _collect(key: KeyT, future: Future[Any]) -> Outcome[KeyT, Any]:
    try:
        return Outcome(key, future.result())
    except Exception as error:
        return Outcome(key, None, error)


def _run_one(
    kind: Callable[[Config], BatchRunner],
    config: Config,
    method: str,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> object:
    """Call a method of an upscaler in a worker, which makes it once."""
    return getattr(_make(kind, config), method)(*arguments, **options)


@lru_cache(4)
def _make(kind: Callable[[Config], BatchRunner], config: Config) -> BatchRunner:
    return kind(config)
