"""Owns CUDA graphs: the kernels of a function recorded once, then started with one call.

Started one by one from Python, the several hundred kernels of a step take longer than they run.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Tensors = dict[str, Tensor]

PLAIN_CALLS = 3  # come first: libraries set themselves up and gradients find their memory


@dataclass
class _Recorded:
    inputs: Tensors
    outputs: Tensors
    graph: torch.cuda.CUDAGraph


@dataclass
class Replay:
    """Calls a function of tensors on a GPU; after PLAIN_CALLS with inputs of the same shapes, as a
    recorded CUDA graph.

    It must be the same function at each call, do the same for all inputs of the same shapes, look
    at no value on the CPU, and every other tensor it reads must stay where it is. What a call
    returns is overwritten by the next.
    """

    _calls: dict[tuple, int] = field(default_factory=dict)
    _recorded: dict[tuple, _Recorded] = field(default_factory=dict)

    def __call__(self, function: Callable[[Tensors], Tensors], inputs: Tensors) -> Tensors:
        """Returns function(inputs); the inputs lie on the current GPU."""
        shapes = tuple(tensor.shape for tensor in inputs.values())
        self._calls[shapes] = self._calls.get(shapes, 0) + 1
        if self._calls[shapes] <= PLAIN_CALLS:
            return _on_a_side_stream(function, inputs)
        if shapes not in self._recorded:
            self._recorded[shapes] = _record(function, inputs)
        recorded = self._recorded[shapes]
        for name, tensor in inputs.items():
            recorded.inputs[name].copy_(tensor, non_blocking=True)
        recorded.graph.replay()
        return recorded.outputs


def _record(function: Callable[[Tensors], Tensors], inputs: Tensors) -> _Recorded:
    own = {name: tensor.clone() for name, tensor in inputs.items()}
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function(own)
    return _Recorded(own, outputs, graph)


def _on_a_side_stream(function: Callable[[Tensors], Tensors], inputs: Tensors) -> Tensors:
    """Recording asks that gradients were made on another stream than the default one before."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        outputs = function(inputs)
    torch.cuda.current_stream().wait_stream(stream)
    return outputs
