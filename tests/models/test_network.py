"""ONNX networks are looked over before anything runs, and score as they were written."""

import numpy as np
import pandas as pd
import pytest

from diagnosis.errors import BundleError
from diagnosis.models import Bundle, Feature, admit, load, write_bundle
from diagnosis.models.network import OnnxModel

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FEATURES = (Feature("price", "candidates.price"), Feature("colour", "candidates.colour", "category", ("red", "green", "blue")))
ROWS = pd.DataFrame({"price": [1.0, -2.0], "colour": pd.Series(["red", "blue"], dtype=object)})
WEIGHTS = {"w1": [[1.0, -1.0], [0.5, 0.0]], "b1": [0.0, 0.25], "w2": [[2.0], [4.0]], "b2": [-1.0]}


def tensors(kind=np.float32):
    return [onnx.numpy_helper.from_array(np.array(values, dtype=kind), name) for name, values in WEIGHTS.items()]


def network(nodes=None, held=None, kind=1, width=2, **model):
    """relu(x w1 + b1) w2 + b2, or what is given instead."""
    make = onnx.helper
    plain = [
        make.make_node("Gemm", ["x", "w1", "b1"], ["sum1"]),
        make.make_node("Relu", ["sum1"], ["hidden1"]),
        make.make_node("Gemm", ["hidden1", "w2", "b2"], ["score"]),
    ]
    given = [make.make_tensor_value_info("x", kind, ["n", width])]
    told = [make.make_tensor_value_info("score", kind, ["n", "k"])]
    graph = make.make_graph(nodes or plain, "g", given, told, tensors() if held is None else held)
    opsets = [make.make_opsetid("", 18), *(make.make_opsetid(d, 1) for d in model.pop("domains", ()))]
    return make.make_model(graph, opset_imports=opsets, ir_version=9, **model)


def loaded(proto, features=FEATURES):
    return OnnxModel(Bundle(None, "net", "1", "onnx", "net.onnx", features=features), proto.SerializeToString())


def test_scores_are_worked_out_as_the_network_is_written():
    # Row 1: (1, 0) → sums (1, -0.75) → relu (1, 0) → 2 - 1. Row 2: (-2, 2) → sums (-1, 2.25) → relu (0, 2.25) → 9 - 1.
    model = loaded(network())
    assert model.score(ROWS).tolist() == [1.0, 8.0]
    assert model.score(ROWS.head(0)).shape == (0,)
    layers, score = model.layers(np.array([[1.0, 0.0], [-2.0, 2.0]]))
    assert [(name, kind, values.tolist()) for name, kind, values in layers] == [("hidden1", "Relu", [[1.0, 0.0], [0.0, 2.25]])]
    assert score.tolist() == [1.0, 8.0]


def test_a_network_in_64_bits_keeps_them():
    model = loaded(network(held=tensors(np.float64), kind=11))
    price = 1.0 + 2.0**-40
    assert model.score(pd.DataFrame({"price": [price], "colour": pd.Series(["red"], dtype=object)})).tolist() == [2.0 * price - 1.0]


def test_an_onnx_bundle_is_admitted_in_the_child_and_loaded(tmp_path):
    made = Bundle(tmp_path, "net", "1", "onnx", "net.onnx", features=FEATURES, library_versions={"onnx": onnx.__version__})
    bundle = write_bundle(tmp_path, made, network().SerializeToString())
    assert load(bundle, admit(bundle)).score(ROWS).tolist() == [1.0, 8.0]


def test_tensors_in_other_files_are_refused_by_name(tmp_path):
    outside = tensors()
    outside[2].ClearField("raw_data")
    outside[2].data_location = onnx.TensorProto.EXTERNAL
    outside[2].external_data.add(key="location", value="../secret.bin")
    with pytest.raises(BundleError, match=r"keeps tensors in other files \(w2\)"):
        loaded(network(held=outside))
    made = Bundle(tmp_path, "net", "1", "onnx", "net.onnx", features=FEATURES)
    bundle = write_bundle(tmp_path, made, network(held=outside).SerializeToString())
    with pytest.raises(BundleError, match=r"keeps tensors in other files \(w2\)"):
        admit(bundle)


def test_tensors_in_other_files_are_found_inside_of_nodes():
    constant = onnx.helper.make_node("Constant", [], ["w2"], value=tensors()[2])
    constant.attribute[0].t.external_data.add(key="location", value="x.bin")
    branch = onnx.helper.make_graph([constant], "inner", [], [onnx.helper.make_empty_tensor_value_info("w2")])
    node = onnx.helper.make_node("If", ["x"], ["score"], then_branch=branch, else_branch=branch)
    with pytest.raises(BundleError, match="other files"):
        loaded(network(nodes=[node]))


def test_operators_of_its_own_are_refused_by_name():
    make = onnx.helper
    nodes = [make.make_node("Steal", ["x"], ["score"], domain="evil.ops")]
    with pytest.raises(BundleError, match=r"operators of its own \(evil.ops.Steal\)"):
        loaded(network(nodes=nodes, domains=["evil.ops"]))
    fused = [make.make_node("Gelu", ["x"], ["score"], domain="com.microsoft")]
    with pytest.raises(BundleError, match=r"com.microsoft.Gelu"):
        loaded(network(nodes=fused, domains=["com.microsoft"]))
    body = [make.make_node("Relu", ["a"], ["b"])]
    function = make.make_function("mine", "F", ["a"], ["b"], body, [make.make_opsetid("", 18)])
    with pytest.raises(BundleError, match=r"function mine.F"):
        loaded(network(functions=[function], domains=["mine"]))


@pytest.mark.parametrize("data", [b"", b"no network", b"\x08\x09" + bytes(50)])
def test_foreign_bytes_are_no_network(data):
    with pytest.raises(BundleError, match=r"no (valid )?ONNX file"):
        OnnxModel(Bundle(None, "net", "1", "onnx", "net.onnx", features=FEATURES), data)


def test_a_cut_network_is_refused():
    data = network().SerializeToString()
    for keep in (0.3, 0.7, 0.95):
        with pytest.raises(BundleError):
            OnnxModel(Bundle(None, "net", "1", "onnx", "net.onnx", features=FEATURES), data[: int(len(data) * keep)])


def test_what_is_no_table_in_and_one_score_out_is_refused():
    with pytest.raises(BundleError, match="the manifest has 1 features"):
        loaded(network(), FEATURES[:1])
    with pytest.raises(BundleError, match="not one table of numbers"):
        loaded(network(kind=7, nodes=[onnx.helper.make_node("Identity", ["x"], ["score"])], held=[]))
    two = [onnx.helper.make_node("Identity", ["x"], ["score"])]
    with pytest.raises(BundleError, match="not one score a row"):
        loaded(network(nodes=two, held=[])).score(ROWS)


def test_a_network_without_activations_shows_its_products():
    make = onnx.helper
    nodes = [make.make_node("MatMul", ["x", "w1"], ["a"]), make.make_node("Gemm", ["a", "w2", "b2"], ["score"])]
    layers, _ = loaded(network(nodes=nodes)).layers(np.array([[1.0, 2.0]]))
    assert [(name, kind, values.tolist()) for name, kind, values in layers] == [("a", "MatMul", [[2.0, -1.0]])]
