"""Tensors are on the right device, with a GPU that is not there; and what happens where a GPU cannot do something."""

import gc
import sys
import weakref
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from fake_gpu import fake_gpu
from helpers import gaussian_kernel
from PIL import Image

from zssr import Config, ConfigError, Request, Upscaler, upscale
from zssr.config import NetworkShape
from zssr.executors import choose_gpu
from zssr.networks.sr import Network
from zssr.prior.prior_training import TrainingPlan, train_prior
from zssr.progress import Stage
from zssr.runtime import ComputeType, Runtime, is_out_of_memory, resolve_device, resolve_precision
from zssr.training.cuda_graph import CudaGraph
from zssr.training.train_step import TrainStep

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")

SETTINGS = {"init": "random", "num_epochs": 2, "model_width": 8, "model_depth": 3, "crop_size": 32, "precision": "bf16"}
SETTINGS |= {"self_ensemble": 2}
BLUR = gaussian_kernel(3, (0.9, 0.5), 0.4)


def add_opacity(array):
    opacity = np.full(array.shape[:2], 255, np.uint8)
    opacity[:9, :20] = 0
    return Image.fromarray(np.dstack([array, opacity]))


CASES = {
    "x2": lambda photo: upscale(photo, 2, device="cuda", **SETTINGS),
    "x1.7": lambda photo: upscale(photo, 1.7, device="cuda", **SETTINGS),
    "x3": lambda photo: upscale(photo, 3, device="cuda", **SETTINGS),
    "x4, prior": lambda photo: upscale(photo, 4, device="cuda", num_epochs=1, precision="fp16"),
    "kernel": lambda photo: upscale(photo, 2, kernel=BLUR, device="cuda", **SETTINGS),
    "top left": lambda photo: upscale(photo, 2, kernel=BLUR, sampling="top_left", device="cuda", **SETTINGS),
    "noise": lambda photo: upscale(photo, 2, noise=9.0, device="cuda", **SETTINGS),
    "jpeg": lambda photo: upscale(photo, 2, jpeg=60, device="cuda", **SETTINGS),
    "gray": lambda photo: upscale(photo[..., 0], 2, device="cuda", **SETTINGS),
    "bands": lambda photo: upscale(
        np.dstack([photo, photo[..., :1]]), 2, device="cuda", num_epochs=1, precision="bf16"
    ),
    "alpha": lambda photo: upscale(add_opacity(photo), 2, device="cuda", **SETTINGS),
    "blocks": lambda photo: upscale(photo, 2, device="cuda", patch_size=16, **SETTINGS),
    "texture": lambda photo: upscale(photo, 2, device="cuda", adversarial=1.0, **SETTINGS),
    "gain": lambda photo: upscale(photo, 2, device="cuda", measure_gain=True, **SETTINGS),
    "fp32": lambda photo: upscale(photo, 2, device="cuda", **SETTINGS | {"precision": "fp32", "self_ensemble": 8}),
    "batch": lambda photo: upscale(
        torch.from_numpy(photo).permute(2, 0, 1)[None].expand(2, 3, 32, 40).to("cuda"), 2, device="cuda", **SETTINGS
    ),
    "preview": lambda photo: Upscaler(Config.from_dict(SETTINGS)).run(
        photo, Request(2, device="cuda"), progress=lambda event: event.preview and event.preview()
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_is_on_its_device(name, astronaut, monkeypatch):
    monkeypatch.setattr("zssr.training.texture_gan.WARM_UP_STEPS", 2)
    with fake_gpu(monkeypatch) as gpu:
        CASES[name](astronaut[:32, :40])
    assert gpu.waits  # the GPU was used
    assert not gpu.float64  # those of Apple have none


@pytest.mark.parametrize("kind", ["blurred", "noisy"])
def test_training_of_a_prior_waits_for_the_gpu_only_to_log(kind, monkeypatch, generator, tmp_path):
    monkeypatch.setattr("zssr.prior.training_pictures.fork_generator", lambda generator, _: generator)
    monkeypatch.setattr("zssr.prior.prior_training.fork_generator", lambda generator, _: generator)
    monkeypatch.setattr("zssr.prior.prior_training._Training.save", lambda *_: None)
    monkeypatch.setattr("zssr.prior.prior_training.write_prior", lambda *_: None)
    pictures = [torch.randint(256, (3, 40, 50), dtype=torch.uint8, generator=generator)]
    plan = TrainingPlan(kind, NetworkShape(8, 4, blocks=True), steps=4, crops=3, crop_size=16, degradations=4)
    counts = []
    for checkpoint_steps in (1, 4):
        with fake_gpu(monkeypatch) as gpu:
            compute = ComputeType(torch.device("cuda"), torch.bfloat16)
            train_prior(pictures, replace(plan, checkpoint_steps=checkpoint_steps), compute, tmp_path / "x.pt")
        counts.append(gpu.waits.count("value"))
        assert not gpu.float64
    assert counts == [4, 1]


def test_tensor_on_another_device_would_be_seen(monkeypatch):
    with fake_gpu(monkeypatch) as gpu:
        there = torch.ones(2, device="cuda")
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(2)
        assert (gpu.waits, gpu.float64) == ([], [])
        assert torch.equal(there.cpu(), torch.full((2,), 0.5))
        torch.ones(2).to("cuda")
        torch.ones(2).to("cuda", non_blocking=True)
        assert there.sum().item() == 0.5
        there.double()
        assert gpu.waits == ["copy", "copy", "value"]
        assert len(gpu.float64) == 1


def test_training_waits_for_the_gpu_only_to_measure_errors(astronaut, monkeypatch):
    waits = []
    monkeypatch.setattr("zssr.training.pairs._MOST_GATHERED", 1)  # crops are drawn in each step
    with fake_gpu(monkeypatch) as gpu:
        config = Config.from_dict({**SETTINGS, "num_epochs": 12, "lr_decay_step": 4})

        def count(event):
            if event.stage == Stage.TRAIN:
                waits.append(len(gpu.waits))

        Upscaler(config).run(astronaut, Request(2, device="cuda"), progress=count)
    steps = [later > earlier for earlier, later in pairwise(waits)]
    assert steps == [done % 4 == 0 for done in range(2, 13)]


class Graph:
    """Stands in for a CUDA graph: replaying counts, and nothing is computed."""

    replays = 0

    def replay(self):
        self.replays += 1


@pytest.fixture
def cuda(monkeypatch):
    """What `CudaGraph` uses of torch.cuda, without a GPU."""
    stream = type("Stream", (), {"wait_stream": lambda self, other: None})
    for name, stand_in in {
        "Stream": stream,
        "current_stream": stream,
        "CUDAGraph": Graph,
        "device": nullcontext,
        "stream": nullcontext,
        "graph": lambda graph, **_: nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return torch.cuda


def take_steps(graph, count, error=None, fails_at=()):
    """Take steps that sum their inputs; return the losses, and how often the step was run."""
    runs = []

    def run(sons, residuals):
        runs.append((sons, residuals))
        if len(runs) in fails_at:
            raise error
        return (sons + residuals).sum()

    losses = [float(graph(run, torch.tensor(1.0 * k), torch.tensor(0.5))) for k in range(count)]
    return losses, runs


def test_step_is_captured_once_and_then_replayed_on_new_crops(cuda):
    graph = CudaGraph(torch.device("cuda"))
    losses, runs = take_steps(graph, 8)
    assert losses[0] == 0.5
    assert len(runs) == 2
    assert graph._captured.graph.replays == 7
    assert runs[1][0] is graph._captured.inputs[0]
    assert graph._captured.inputs[0] == 7
    assert graph.failure is None


@pytest.mark.parametrize("part", ["Stream", "CUDAGraph", "graph", "replay"])
def test_step_that_cannot_be_captured_or_replayed_is_run_eagerly(cuda, monkeypatch, part):
    def fail(*_, **__):
        raise RuntimeError("operation not permitted\nand so on")

    monkeypatch.setattr(*(Graph, part) if part == "replay" else (cuda, part), fail)
    graph = CudaGraph(torch.device("cuda"))
    losses, _ = take_steps(graph, 8)
    assert losses == [k + 0.5 for k in range(8)]
    assert graph.failure == "operation not permitted"


@pytest.mark.parametrize("step", [1, 2])
def test_lack_of_memory_in_a_step_is_not_taken_for_a_failed_capture(cuda, step):
    graph = CudaGraph(torch.device("cuda"))
    with pytest.raises(torch.OutOfMemoryError):
        take_steps(graph, 8, torch.OutOfMemoryError("CUDA out of memory"), [step])
    assert graph.failure is None


def test_step_and_its_graph_are_freed_without_the_garbage_collector(cuda, photo, generator):
    step = TrainStep(Network(3, 2, NetworkShape(8, 3), generator), ComputeType(torch.device("cpu"), torch.float32))
    step._graph = CudaGraph(torch.device("cuda"))
    for _ in range(5):
        step(photo, torch.zeros(1, 3, 96, 128), 1e-3)
    graph, alive = step._graph._captured.graph, weakref.ref(step)
    gc.disable()
    try:
        del step
        assert alive() is None
        assert sys.getrefcount(graph) == 2  # the variable and the argument
    finally:
        gc.enable()


def test_failed_capture_is_one_warning(astronaut, monkeypatch):
    monkeypatch.setattr(torch.cuda, "Stream", lambda *_: torch.empty(-1))
    with fake_gpu(monkeypatch):
        result = Upscaler(Config.from_dict(SETTINGS)).run(astronaut[:32, :32], Request(4, device="cuda"))
    assert [warning.partition(",")[0] for warning in result.warnings] == [
        "the GPU's training steps could not be captured"
    ]
    assert result.steps == 2 * SETTINGS["num_epochs"]


def test_full_gpu_halves_crops_and_tiles(astronaut, monkeypatch):
    sizes, apply = [], torch.nn.functional.pixel_shuffle

    def shuffle(image, factor):
        sizes.append(image.shape[-1])
        if image.shape[-1] > 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return apply(image, factor)

    monkeypatch.setattr(torch.nn.functional, "pixel_shuffle", shuffle)
    with fake_gpu(monkeypatch):
        result = upscale(astronaut, 2, device="cuda", patch_size=64, **SETTINGS | {"crop_size": 64, "self_ensemble": 1})
    assert result.shape == (96, 128, 3)
    assert max(sizes) > 20


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 MiB", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("MPS backend out of memory (MPS allocated: 9.05 GB)", True),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(message, expected):
    assert is_out_of_memory(RuntimeError(message)) is expected


@pytest.mark.parametrize(
    ("capability", "name"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((6, 1), "fp32")]
)
def test_gpu_computes_in_the_fastest_precision_that_it_has(monkeypatch, capability, name):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert str(resolve_precision(torch.device("cuda", 0), "auto")) == name
    assert str(resolve_precision(torch.device("mps"), "auto")) == "fp32"


def test_batch_size_follows_the_device_and_interval_follows_it(monkeypatch):
    with fake_gpu(monkeypatch):
        sizes = [
            Runtime.resolve(device, Config(batch_size=asked, precision="fp32")).batch_size
            for device, asked in (("cpu", "auto"), ("cuda", "auto"), ("cpu", 3), ("cuda", 3))
        ]
    assert sizes == [2, 8, 3, 3]
    assert [Config().validation_interval(size) for size in (1, 8)] == [40, 20]
    assert Config(lr_decay_step=7).validation_interval(8) == 7


def test_process_forked_after_cuda_was_used_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    with pytest.raises(ConfigError, match="forked after CUDA was used"):
        resolve_device("cuda")


def test_jobs_share_the_gpus_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [choose_gpu(Request(2), slot).device for slot in range(4)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert choose_gpu(Request(2, device="cpu"), 1).device == "cpu"
    assert choose_gpu(Request(2), None).device == "auto"
