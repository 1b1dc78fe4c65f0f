"""Mean embeddings: of the tokens alone, by the backbone alone, in the order of the rows."""

import pytest
import torch
from datasets import Dataset
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from finesweep.models.embeddings import mean_embeddings

TEXTS = ["one", "a cat and a dog and a horse", "two three", "red"] * 10


@pytest.fixture
def rows(tiny_model):
    tokens = AutoTokenizer.from_pretrained(tiny_model)(TEXTS)
    return Dataset.from_dict({**tokens, "labels": [0] * len(TEXTS)})


def test_they_are_the_means_of_the_backbone_s_states_whatever_else_is_in_the_batch(tiny_model, rows):
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model).train()
    collator = DataCollatorWithPadding(AutoTokenizer.from_pretrained(tiny_model))
    found = mean_embeddings(model, rows, collator)
    alone = AutoModel.from_pretrained(tiny_model).eval()
    with torch.inference_mode():
        for i, vector in enumerate(found):
            states = alone(input_ids=torch.tensor([rows[i]["input_ids"]])).last_hidden_state[0]
            torch.testing.assert_close(torch.from_numpy(vector), states.mean(0), atol=1e-5, rtol=1e-4)
