"""Logps of responses in transformers, for peft.spec.ts: of an adapter, as PEFT loads it, and of a merged model.

Reads {"adapter": folder, "merged": folder, "sequences": [{"prompt": ids, "response": ids}]} from standard input and prints
{"adapter": logps, "merged": logps}: for each sequence the logps of the tokens of its response, in nats.
"""

import json
import sys

import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM


@torch.no_grad()
def token_logps(model, prompt, response):
    logits = model(torch.tensor([prompt + response])).logits[0].float()
    logps = logits.log_softmax(-1)
    return [logps[len(prompt) - 1 + i, token].item() for i, token in enumerate(response)]


given = json.load(sys.stdin)
models = {
    "adapter": AutoPeftModelForCausalLM.from_pretrained(given["adapter"], dtype=torch.float32),
    "merged": AutoModelForCausalLM.from_pretrained(given["merged"], dtype=torch.float32),
}
print(json.dumps({name: [token_logps(model, **each) for each in given["sequences"]] for name, model in models.items()}))
