"""ONNX Runtime: inference only, so rows without gradients."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

THREADS = 1


def version():
    return onnxruntime.__version__


def threads(n):
    global THREADS
    THREADS = n


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def session(nodes, inputs, constants, carried=None):
    """A run of the graph, whose output is y; or outputs that each run leaves for inputs of the next: `carried`, input by output."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name, x in inputs.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in carried or ("y",)]
    held = [numpy_helper.from_array(x, name) for name, x in constants.items()]
    graph = helper.make_graph(nodes, "row", values, outputs, held)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)], ir_version=9
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    made = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    if not carried:
        return lambda: made.run(None, inputs)

    def run():
        inputs.update(zip(carried.values(), made.run(None, inputs), strict=True))

    return run


def matmul(m, k, n):
    return session([helper.make_node("MatMul", ["a", "b"], ["y"])], {"a": numbers(m, k), "b": numbers(k, n)}, {})


def linear(n, i, o):
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    return session([node], {"x": numbers(n, i)}, {"w": numbers(o, i), "b": numbers(o)})


def softmax(n, d):
    return session([helper.make_node("Softmax", ["x"], ["y"], axis=-1)], {"x": numbers(n, d)}, {})


def gelu(n):
    return session([helper.make_node("Gelu", ["x"], ["y"])], {"x": numbers(n)}, {})


def layer_of(cell, i, h, states, outputs):
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[cell]
    options = {"linear_before_reset": 1} if cell == "gru" else {}
    node = helper.make_node(cell.upper(), ["x", "w", "r", "b", *states], outputs, hidden_size=h, **options)
    scaled = {"w": (1, gates * h, i), "r": (1, gates * h, h), "b": (1, 2 * gates * h)}
    return [node], {name: np.float32(0.05) * numbers(*shape) for name, shape in scaled.items()}


def recurrent(cell, t, b, i, h):
    nodes, weights = layer_of(cell, i, h, [], ["y"])
    return session(nodes, {"x": numbers(t, b, i)}, weights)


def recurrent_stream(cell, b, i, h):
    states = ["h", "c"] if cell == "lstm" else ["h"]
    nodes, weights = layer_of(cell, i, h, ["", *states], ["", *(f"{name}_n" for name in states)])
    inputs = {"x": numbers(1, b, i), **{name: np.zeros((1, b, h), np.float32) for name in states}}
    return session(nodes, inputs, weights, {f"{name}_n": name for name in states})


def attention(b, t, d, n, weights=False):
    """Three products, the fused attention of ONNX Runtime's own operators, and the output's product."""
    if weights:
        return None
    nodes = []
    for name in "qkv":
        nodes.append(helper.make_node("MatMul", ["x", f"w{name}"], [f"p{name}"]))
        nodes.append(helper.make_node("Add", [f"p{name}", f"b{name}"], [name]))
    nodes.append(helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["c"], domain="com.microsoft", num_heads=n))
    nodes.append(helper.make_node("MatMul", ["c", "wo"], ["o"]))
    nodes.append(helper.make_node("Add", ["o", "bo"], ["y"]))
    constants = {f"w{name}": np.float32(d**-0.5) * numbers(d, d) for name in "qkvo"}
    return session(nodes, {"x": numbers(b, t, d)}, {**constants, **{f"b{name}": numbers(d) for name in "qkvo"}})
