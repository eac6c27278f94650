import numpy as np

from kvdiff.layers.class_embedding import ClassEmbedding
from tests.layers.harness import check_layer


def test_adds_the_vector_of_the_class(rng):
    embedding, class_id = rng.normal(size=(3, 2, 4)).astype("float32"), np.array([0, 2, 1], np.int32)
    layer = ClassEmbedding(2)
    output = check_layer(layer, embedding, class_id)
    table = layer.get_weights()[0]
    np.testing.assert_allclose(output, embedding + table[class_id][:, None, :], rtol=1e-6)
    assert table.shape == (3, 4)
