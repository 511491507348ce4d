"""Converting networks of torch into networks of OpenVINO, which computes them on a CPU."""

import importlib
import warnings
from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def network_of(model: nn.Module, example: dict[str, Tensor]) -> Any:
    """Trace a network and return it as an `openvino.Model`.

    Args:
        model: The network, on the CPU and in evaluation mode; the inputs of the result have the
            names of its arguments.
        example: Its arguments. The sizes of the result's inputs stay open; sizes that the network
            computes with in Python are constants.
    """
    openvino: Any = importlib.import_module("openvino")
    decoders: Any = importlib.import_module("openvino.frontend.pytorch.ts_decoder")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # pyright: ignore
        # The check runs the network twice more and imports several packages for it.
        decoder = decoders.TorchScriptPythonDecoder(
            model, example_input=example, trace_kwargs={"check_trace": False}
        )
    return openvino.convert_model(decoder)
