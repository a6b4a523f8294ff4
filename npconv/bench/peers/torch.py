"""PyTorch, eager, in its two memory layouts.

A forward runs without autograd. A backward is `torch.autograd.grad` of a forward that was recorded before the clock
starts and is kept: only the gradients are computed, from whatever PyTorch chose to keep, into fresh arrays.
"""

from __future__ import annotations

from typing import Any, ClassVar

from npconv.bench.cases import Arrays, Case, Direction
from npconv.bench.networks import SGD, Network, Pass, summary
from npconv.bench.peers import Peer, Work
from npconv.bench.peers.torch_networks import twin
from npconv.geometry import Array


class Torch(Peer):
    """Contiguous tensors, NCHW: PyTorch's default."""

    layout: ClassVar[str] = "contiguous_format"

    def __init__(self, threads: int) -> None:
        import torch

        self.torch: Any = torch
        torch.set_num_threads(threads)

    def tensor(self, array: Array) -> Any:
        """A tensor in this peer's layout."""
        return self.torch.from_numpy(array).contiguous(memory_format=getattr(self.torch, self.layout))

    def work(self, case: Case, direction: Direction, arrays: Arrays) -> Work:
        x, w, dy = (tuple(self.tensor(array) for array in group) for group in arrays)
        if direction == "forward":

            def forward() -> Any:
                with self.torch.no_grad():
                    return self.forward(case, x, w)

            return Work(forward, self._numpy)
        wanted = (x if direction != "weight_grad" else ()) + (w if direction != "input_grad" else ())
        for tensor in wanted:
            tensor.requires_grad_()
        y = self.forward(case, x, w)
        return Work(lambda: self.torch.autograd.grad(y, wanted, dy, retain_graph=True), self._numpy)

    def network(self, case: Network, direction: Pass, seed: int, dtype: str) -> Work:
        """The network's twin, with the optimizer's defaults; a forward is in evaluation mode and without autograd."""
        torch, (images, labels) = self.torch, case.data(seed, dtype)
        network = twin(torch, case.build(seed, dtype))
        network = network.to(getattr(torch, dtype)).to(memory_format=getattr(torch, self.layout))
        x, targets = self.tensor(images), torch.from_numpy(labels)
        run = self.compiled(network)
        if direction == "forward":
            network.eval()

            def forward() -> Any:
                with torch.no_grad():
                    return [run(x)]

            return Work(forward, self._numpy)
        optimizer = torch.optim.SGD(network.parameters(), **SGD)

        def step() -> Any:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(run(x), targets)
            loss.backward()
            optimizer.step()
            return loss.detach(), [parameter.grad for parameter in network.parameters()]

        def to_numpy(value: Any) -> list[Array]:
            loss, gradients = value
            return [loss.numpy(), *summary([gradient.contiguous().numpy() for gradient in gradients])]

        return Work(step, to_numpy)

    def compiled(self, network: Any) -> Any:
        """What runs for the network: here itself."""
        return network

    @staticmethod
    def _numpy(values: Any) -> list[Array]:
        return [value.contiguous().numpy() for value in values]

    def convolution(self, x: Any, w: Any, *, kernel: int, stride: int, padding: int, groups: int) -> Any:
        return self.torch.nn.functional.conv2d(x, w, None, stride, padding, 1, groups)

    def pool(self, x: Any) -> Any:
        return self.torch.nn.functional.avg_pool2d(x, 2)

    def upsample(self, x: Any) -> Any:
        return self.torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest")

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def concatenate(self, a: Any, b: Any) -> Any:
        return self.torch.cat([a, b], dim=1)

    def shuffle(self, x: Any, groups: int, channels: int) -> Any:
        batch, _, height, width = x.shape
        split = x.view(batch, groups, channels // groups, height, width)
        return split.transpose(1, 2).reshape(batch, channels, height, width)


class TorchChannelsLast(Torch):
    """Tensors, kernels and gradients in the memory format channels_last (NHWC), as PyTorch recommends for its CPU kernels."""

    layout = "channels_last"

    def shuffle(self, x: Any, groups: int, channels: int) -> Any:
        # a view of NHWC memory splits the channels just as well; only the result has to say its layout
        batch, _, height, width = x.shape
        split = x.unflatten(1, (groups, channels // groups))
        shuffled = split.transpose(1, 2).reshape(batch, channels, height, width)
        return shuffled.contiguous(memory_format=self.torch.channels_last)


class TorchCompile(Torch):
    """As `Torch`, with networks through `torch.compile`, which takes its minutes before the clock starts."""

    def compiled(self, network: Any) -> Any:
        return self.torch.compile(network)
