"""CUDA graphs: the kernels of a function, recorded once and then launched with one call.

A training step has several hundred kernels; launching them one by one from Python takes longer
than running them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Tensors = dict[str, Tensor]

PLAIN_CALLS = 3  # before recording: libraries initialise and gradients are allocated


@dataclass
class _Recorded:
    inputs: Tensors
    outputs: Tensors
    graph: torch.cuda.CUDAGraph


@dataclass
class Replay:
    """Calls a function of tensors on a GPU, from its fourth call on as a recorded CUDA graph.

    Every call must pass the same function. For inputs of equal shapes it must launch the same
    kernels, must not read values on the CPU, and all other tensors it uses must keep their memory.
    The outputs of a call are overwritten by the next.
    """

    _calls: dict[tuple, int] = field(default_factory=dict)
    _recorded: dict[tuple, _Recorded] = field(default_factory=dict)

    def __call__(self, function: Callable[[Tensors], Tensors], inputs: Tensors) -> Tensors:
        """Returns function(inputs); the inputs are on the current GPU."""
        shapes = tuple(tensor.shape for tensor in inputs.values())
        self._calls[shapes] = self._calls.get(shapes, 0) + 1
        if self._calls[shapes] <= PLAIN_CALLS:
            return _run_on_side_stream(function, inputs)
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


def _run_on_side_stream(function: Callable[[Tensors], Tensors], inputs: Tensors) -> Tensors:
    """Runs the function as recording requires: gradients must be made off the default stream."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        outputs = function(inputs)
    torch.cuda.current_stream().wait_stream(stream)
    return outputs
