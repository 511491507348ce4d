"""Networks on the CPU, by OpenVINO: which precisions there are, compiling, running.

OpenVINO is imported where it is used, so that a job on a GPU never loads it.
"""

import functools
import importlib
import queue
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from holohisto.errors import HolohistoError
from holohisto.runtime.atomic import is_full

HINTS = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO's names of the precisions."""


def require_precision(precision: str, where: object) -> None:
    """Check that this processor computes in a precision.

    Raises:
        HolohistoError: naming `where`: it does not.
    """
    if precision == "bf16" and not has_bf16():
        raise HolohistoError(
            where,
            "is not available on this processor",
            found="bf16",
            allowed="fp32",
            advice="bf16 needs AVX-512 BF16 or AMX",
        )


def has_bf16() -> bool:
    """Return whether this processor has instructions for bf16."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def read_network(xml: bytes, weights: bytes) -> Any:
    """Return the `openvino.Model` of an intermediate representation."""
    openvino: Any = importlib.import_module("openvino")
    return _core().read_model(xml, openvino.Tensor(np.frombuffer(weights, np.uint8)))


def intermediate_representation(network: Any, folder: Path | None = None) -> tuple[bytes, bytes]:
    """Return the intermediate representation of an `openvino.Model`, XML and weights.

    Args:
        network: The network.
        folder: Folder with room for the weights for a moment; None: the system's.

    Raises:
        HolohistoError: the folder is full, read-only or missing.
    """
    openvino: Any = importlib.import_module("openvino")
    advice = "free some space, or set TMPDIR to a folder on another disk"
    try:
        own = tempfile.TemporaryDirectory(prefix="holohisto-", dir=folder)
    except OSError as error:
        where = folder or "TMPDIR"
        problem = f"cannot be written: {error.strerror}"
        raise HolohistoError(where, problem, advice=advice) from error
    with own as name:
        xml, weights = Path(name) / "network.xml", Path(name) / "network.bin"
        try:
            openvino.serialize(network, xml, weights)
        except RuntimeError as error:  # of C++; what was written may be gone by now
            if "iostream" not in str(error) and not is_full(Path(name)):
                raise
            problem = "cannot be written: the disk is full"
            raise HolohistoError(Path(name).parent, problem, advice=advice) from error
        return xml.read_bytes(), weights.read_bytes()


class CompiledNetwork:
    """A network compiled for inputs of one shape; may be called by several threads at once.

    A result does not depend on other calls. Where sums run over all pixels, as in instance norms,
    its last bits depend on the number of threads that share a call: `threads / parallel`, at most
    the machine's cores.
    """

    def __init__(
        self,
        network: Any,
        shapes: Mapping[str, Sequence[int]],
        precision: str = "fp32",
        threads: int = 1,
        parallel: int = 1,
    ) -> None:
        """Compile.

        Args:
            network: An `openvino.Model`, which is left as it was.
            shapes: Shape of each input by its name.
            precision: `fp32` or `bf16`; inputs and outputs keep their types.
            threads: Threads that compute, all calls together.
            parallel: Calls that are computed side by side.
        """
        network = network.clone()
        network.reshape({name: list(shape) for name, shape in shapes.items()})
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": max(1, threads),
            "NUM_STREAMS": max(1, parallel),
            "ENABLE_CPU_PINNING": False,  # jobs share a machine
        }
        self._network = _core().compile_model(network, "CPU", settings)
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(max(1, parallel)):
            self._requests.put(self._network.create_infer_request())

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the first output, a new array."""
        openvino: Any = importlib.import_module("openvino")
        output = self._network.output(0)
        result = np.empty(tuple(output.shape), output.element_type.to_dtype())
        request = self._requests.get()
        try:
            request.set_output_tensor(0, openvino.Tensor(result, shared_memory=True))
            request.infer(
                {name: np.ascontiguousarray(array) for name, array in inputs.items()},
                share_inputs=True,
            )
        finally:
            self._requests.put(request)
        return result


def trial() -> str:
    """Multiply a small matrix and return OpenVINO's version, the processor and its precisions.

    Raises:
        Exception: OpenVINO does not work here.
    """
    openvino: Any = importlib.import_module("openvino")
    operations: Any = importlib.import_module("openvino.opset13")
    rows = operations.parameter([1, 64], np.float32, name="rows")
    ones = np.ones((64, 64), np.float32)
    network = openvino.Model([operations.matmul(rows, ones, False, False)], [rows])
    product = CompiledNetwork(network, {"rows": (1, 64)})({"rows": np.ones((1, 64), np.float32)})
    if not (product == 64).all():
        raise ArithmeticError("computes wrongly")
    precisions = "fp32 and bf16" if has_bf16() else "fp32"
    name = _core().get_property("CPU", "FULL_DEVICE_NAME")
    return f"OpenVINO {openvino.get_version().split('-')[0]}, {name.strip()}, {precisions}"


@functools.cache
def _core() -> Any:
    """Return OpenVINO's runtime, one a process."""
    return importlib.import_module("openvino").Core()
