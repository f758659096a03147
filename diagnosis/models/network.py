"""ONNX networks: looked over before anything runs, scored by onnxruntime, layer by layer where asked for.

Needs the extra ``onnx``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import BundleError
from diagnosis.models.bundle import Bundle
from diagnosis.models.features import encode

Floats = NDArray[np.float64]

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")  # of the operators that the standard defines
_ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Softplus", "Softsign", "HardSigmoid", "HardSwish", "Mish", "PRelu", "ThresholdedRelu")  # fmt: skip
_PLAIN = ("Gemm", "MatMul")
_MOST = 4096  # units of a layer that are kept, so that no embedding table is copied for every row


class OnnxModel:
    """A network with one input of all features, shape (n, features), and one score a row: shape (n,) or (n, 1).

    Categories go in as their codes in the bundle, what is missing as NaN. Scores are the network's own numbers; where it computes in 32 bits, they have
    that precision.
    """

    def __init__(self, bundle: Bundle, artifact: bytes) -> None:
        self.bundle = bundle
        self.proto = read_network(bundle.artifact, artifact)
        self._session = _session(bundle.artifact, artifact)
        given = self._session.get_inputs()
        if len(given) != 1 or given[0].type not in ("tensor(float)", "tensor(double)"):
            told = ", ".join(f"{i.name}: {i.type}" for i in given)
            raise BundleError(f"the network takes {told}, not one table of numbers.", "export it with one float input of all features.")
        width = given[0].shape[1] if len(given[0].shape) == 2 else None
        if len(given[0].shape) != 2 or (isinstance(width, int) and width != len(bundle.features)):
            raise BundleError(
                f"the network takes {given[0].shape}, the manifest has {len(bundle.features)} features.", "list them all, in order."
            )
        self._input, self._dtype = given[0].name, np.float32 if given[0].type == "tensor(float)" else np.float64
        self._output = self._session.get_outputs()[0].name

    def score(self, features: pd.DataFrame, *, groups: NDArray[np.int64] | None = None, threads: int | None = None) -> Floats:
        """See `Model`. `threads` has no effect: one is used, so that the same rows have the same scores."""
        return self.score_matrix(encode(self.bundle, features)) if len(features) else np.empty(0)

    def score_matrix(self, matrix: Floats) -> Floats:
        """Raw scores of rows that are encoded already."""
        return self._one(self._run(self._session, [self._output], matrix)[0], len(matrix))

    def layers(self, matrix: Floats) -> tuple[list[tuple[str, str, Floats]], Floats]:
        """Values inside the network for every row, and the scores of the same run.

        Returns
        -------
        layers : list of (name, operator, array of float64, shape (n, units))
            What activations give; in a network without any, what its matrix products give.
        score : array of float64, shape (n,)
        """
        named = hidden(self.proto, self._output)
        import onnx

        opened = onnx.ModelProto()
        opened.CopyFrom(self.proto)
        held = {output.name for output in opened.graph.output}
        opened.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name, _ in named if name not in held)
        session = _session(self.bundle.artifact, opened.SerializeToString())
        found = self._run(session, [*(name for name, _ in named), self._output], matrix)
        layers = [
            (name, kind, np.asarray(values, dtype=np.float64).reshape(len(matrix), -1))
            for (name, kind), values in zip(named, found[:-1], strict=True)
            if values.shape[:1] == (len(matrix),) and values.size <= _MOST * max(len(matrix), 1)
        ]
        return layers, self._one(found[-1], len(matrix))

    def _run(self, session: Any, names: Sequence[str], matrix: Floats) -> list[Any]:
        try:
            return list(session.run(list(names), {self._input: np.ascontiguousarray(matrix, dtype=self._dtype)}))
        except Exception as error:  # onnxruntime raises classes of its own, by what went wrong inside
            raise BundleError(f"{self.bundle.artifact} cannot score: {_first_line(error)}", "check it with onnxruntime.") from None

    def _one(self, values: Any, count: int) -> Floats:
        found = np.asarray(values)
        if found.shape not in ((count,), (count, 1)) or found.dtype.kind != "f":
            raise BundleError(
                f"the network gives {found.dtype} of shape {found.shape} for {count} rows, not one score a row.",
                "export the output before the link, and as the first output.",
            )
        return found.reshape(count).astype(np.float64)


def read_network(artifact: str, data: bytes) -> Any:
    """An ``onnx.ModelProto`` that holds all it needs, and nothing but operators that the standard defines.

    Raises
    ------
    BundleError
        If it is none, is damaged, keeps tensors in other files, or brings operators of its own; also if the extra ``onnx`` is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise BundleError(f"{artifact} needs the extra onnx, which is not installed.", "pip install 'diagnosis[onnx]'.") from None
    try:
        proto = onnx.load_model_from_string(data)
    except Exception:  # whatever protobuf meets in foreign bytes
        raise BundleError(f"{artifact} is no ONNX file.", "take it from its source again.") from None
    outside = sorted(
        {tensor.name for tensor in _tensors(proto) if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data}
    )
    if outside:
        raise BundleError(
            f"{artifact} keeps tensors in other files ({_few(outside)}), which nothing checks.", "save it with all tensors inside."
        )
    own = sorted({f"{node.domain}.{node.op_type}" for node in _nodes(proto) if node.domain not in DOMAINS})
    own += [f"function {function.domain}.{function.name}" for function in proto.functions]
    if own:
        raise BundleError(f"{artifact} brings operators of its own ({_few(own)}).", "export it with standard operators only.")
    try:
        onnx.checker.check_model(proto)
    except Exception as error:  # of a class that depends on what it finds
        raise BundleError(f"{artifact} is no valid ONNX file: {_first_line(error)}", "take it from its source again.") from None
    return proto


def hidden(proto: Any, output: str) -> list[tuple[str, str]]:
    """Name and operator of what to show of a network: its activations, else its matrix products; the score itself aside."""
    for kinds in (_ACTIVATIONS, _PLAIN):
        found = [(node.output[0], node.op_type) for node in proto.graph.node if node.op_type in kinds and node.output[0] != output]
        if found:
            return found
    return []


def _session(artifact: str, data: bytes) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise BundleError(f"{artifact} needs the extra onnx, which is not installed.", "pip install 'diagnosis[onnx]'.") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it has to say is in the error
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own, by what went wrong inside
        raise BundleError(f"{artifact} cannot be loaded: {_first_line(error)}", "check it with onnxruntime.") from None


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _nodes(proto: Any) -> Iterator[Any]:
    for graph in _graphs(proto.graph):
        yield from graph.node
    for function in proto.functions:
        yield from function.node


def _tensors(proto: Any) -> Iterator[Any]:
    for graph in _graphs(proto.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _nodes(proto):
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            for sparse in (*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []), *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
