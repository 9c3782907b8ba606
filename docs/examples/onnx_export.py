"""ArcFace as an ONNX graph, with its gradients, for a batch of any size. Needs ndonnx and onnxruntime."""

import ndonnx as ndx
import numpy as np
import onnxruntime

import anglos

embeddings = ndx.argument(shape=("B", 16), dtype=ndx.float32)
weights = ndx.argument(shape=(100, 16), dtype=ndx.float32)
labels = ndx.argument(shape=("B",), dtype=ndx.int64)

loss, (d_embeddings, d_weights) = anglos.arcface.value_and_grad(embeddings, weights, labels, margin=0.5)
model = ndx.build({"embeddings": embeddings, "weights": weights, "labels": labels},
                  {"loss": loss, "d_embeddings": d_embeddings, "d_weights": d_weights})

session = onnxruntime.InferenceSession(model.SerializeToString())
random = np.random.default_rng(0)
prototypes = random.normal(size=(100, 16)).astype("float32")
for batch in (8, 32):
    x, y = random.normal(size=(batch, 16)).astype("float32"), random.integers(0, 100, batch)
    value, gradient = session.run(["loss", "d_embeddings"], {"embeddings": x, "weights": prototypes, "labels": y})
    assert gradient.shape == x.shape
    print(batch, value, float(anglos.arcface(x, prototypes, y, margin=0.5)))
