"""The estimate of memory against what one counts by hand."""

import torch
from transformers import BertConfig, BertModel

from finesweep.models.memory import MemoryEstimate, estimate, free_bytes, largest_batch


def test_the_parts_are_counted():
    config = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=99
    )
    model = BertModel(config)
    count = sum(parameter.numel() for parameter in model.parameters())
    found = estimate(model, batch=4, tokens=10)
    assert found.weights == 4 * count
    assert found.training == 3 * 4 * count
    assert found.activations == 4 * 10 * 2 * (34 * 32 + 5 * 2 * 10) * 2
    assert estimate(model, batch=4, tokens=10, half=True).activations == found.activations // 2
    together = found.packed(3)  # all is trained: nothing is shared
    assert (together.weights, together.training) == (3 * found.weights, 3 * found.training)
    assert together.activations == 3 * found.activations
    model.requires_grad_(False)
    assert estimate(model, batch=4, tokens=10).packed(3).weights == found.weights
    assert estimate(model, batch=4, tokens=10).training == 0
    assert str(found).startswith(f"about {found.total / 2**10:.1f} KiB at full length (weights ")


def test_the_largest_batch_that_fits_divides_the_one_that_was_asked_for():
    found = MemoryEstimate(weights=100, training=20, activations=1200)  # 100 for each of 12 rows
    assert largest_batch(found, 12, free=2000) == 12
    assert largest_batch(found, 12, free=1319) == 6
    assert largest_batch(found, 12, free=620) == 4  # 5 would fit, and make other steps
    assert largest_batch(found, 12, free=220) == 1
    assert largest_batch(found, 12, free=219) is None


def test_a_device_has_memory():
    assert free_bytes(torch.device("cpu")) > 0
    assert free_bytes(torch.device("meta")) is None
