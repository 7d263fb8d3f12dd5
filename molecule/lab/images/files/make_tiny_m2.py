#!/usr/bin/env python3
"""Write a MiniMax-M2 checkpoint of toy size (1.7 M parameters): make_tiny_m2.py FOLDER CONTEXT_LENGTH.

The architecture is the real one; the weights make greedy decoding follow a fixed chain of tokens: an answer, or a
tool call when the request carries tools. The residual stream of a token is its one-hot embedding (attention and
experts add zero), and the output head maps each token to the next of its chain.

Needs torch, tokenizers and safetensors.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

VOCABULARY, HIDDEN, LAYERS = 512, 512, 2
HEADS, KV_HEADS, HEAD_DIM = 4, 2, 32
EXPERTS, EXPERTS_PER_TOKEN, INTERMEDIATE = 4, 2, 64

BOS, EOS, PAD = "]~!b[", "[e~[", "[!<pad>!]"
SPECIAL = [BOS, EOS, "]~b]", "]<]start of image[>[", PAD]
PLAIN = ["<think>", "</think>", "<minimax:tool_call>", "</minimax:tool_call>"]
# Each piece is one token and occurs once, so that a token has one successor.
ANSWER = ["<think>\n", "The user", " said something", ".\n", "</think>\n\n"]
ANSWER += ["Hello", " from", " the tiny", " MiniMax-M2", "!", EOS]
TOOL_CALL = ["<think>\n\n", "I need", " the weather", " tool.\n", "</think>\n\n\n", "<minimax:tool_call>"]
TOOL_CALL += ['\n<invoke name="get_weather">', '\n<parameter name="city">', "Paris", "</parameter>"]
TOOL_CALL += ["\n</invoke>\n", "</minimax:tool_call>", EOS]

CHAT_TEMPLATE = (
    "{{- ']~!b[' }}"
    "{%- for m in messages %}"
    "{{- ']~b]' ~ m.role ~ '\\n' ~ (m.content if m.content is string else (m.content | tojson)) ~ '[e~[\\n' }}"
    "{%- endfor %}"
    "{%- if tools %}{{- ']~b]tools\\n' ~ (tools | tojson) ~ '[e~[\\n' }}{%- endif %}"
    "{%- if add_generation_prompt %}"
    "{{- ']~b]ai\\n' ~ ('<think>\\n\\n' if tools and messages[-1].role != 'tool' else '<think>\\n') }}"
    "{%- endif %}"
)

# Like the real checkpoint: a configuration class for transformers releases that do not know minimax_m2
# (--trust-remote-code).
CONFIGURATION = """\
from transformers.configuration_utils import PretrainedConfig


class MiniMaxM2Config(PretrainedConfig):
    model_type = "minimax_m2"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, rope_theta=5000000.0, rotary_dim=64, head_dim=128, use_qk_norm=True, **kwargs):
        self.rope_theta = rope_theta
        self.rotary_dim = rotary_dim
        self.head_dim = head_dim
        self.use_qk_norm = use_qk_norm
        super().__init__(**kwargs)
"""


def make_tokenizer() -> Tokenizer:
    """Byte-level BPE without merges, MiniMax-M2's special tokens, and the pieces of the chains."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    pieces = [text for text in dict.fromkeys(PLAIN + ANSWER + TOOL_CALL) if text not in SPECIAL]
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in pieces])
    return tokenizer


def make_weights(tokenizer: Tokenizer) -> dict[str, torch.Tensor]:
    def random(*shape: int) -> torch.Tensor:
        return (torch.randn(*shape) * 0.02).to(torch.bfloat16)

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(*shape, dtype=torch.bfloat16)

    def ones(*shape: int) -> torch.Tensor:
        return torch.ones(*shape, dtype=torch.bfloat16)

    successor = {token: (token + 1) % 256 for token in range(VOCABULARY)}  # off the chains: walk the byte alphabet
    for chain in (ANSWER, TOOL_CALL):
        for text, following in itertools.pairwise(chain):
            successor[tokenizer.token_to_id(text)] = tokenizer.token_to_id(following)
    head = torch.zeros(VOCABULARY, HIDDEN)
    for token, following in successor.items():
        head[following, token] = 2.0  # a logit of 2 * sqrt(512), about 45

    torch.manual_seed(0)
    weights = {
        "model.embed_tokens.weight": torch.eye(VOCABULARY, HIDDEN).to(torch.bfloat16),
        "lm_head.weight": head.to(torch.bfloat16),
        "model.norm.weight": ones(HIDDEN),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        weights |= {
            prefix + "self_attn.q_proj.weight": random(HEADS * HEAD_DIM, HIDDEN),
            prefix + "self_attn.k_proj.weight": random(KV_HEADS * HEAD_DIM, HIDDEN),
            prefix + "self_attn.v_proj.weight": random(KV_HEADS * HEAD_DIM, HIDDEN),
            prefix + "self_attn.o_proj.weight": zeros(HIDDEN, HEADS * HEAD_DIM),
            prefix + "input_layernorm.weight": ones(HIDDEN),
            prefix + "post_attention_layernorm.weight": ones(HIDDEN),
            prefix + "block_sparse_moe.gate.weight": random(EXPERTS, HIDDEN),
            prefix + "block_sparse_moe.e_score_correction_bias": torch.zeros(EXPERTS),
        }
        for expert in range(EXPERTS):
            weights |= {
                prefix + f"block_sparse_moe.experts.{expert}.w1.weight": random(INTERMEDIATE, HIDDEN),
                prefix + f"block_sparse_moe.experts.{expert}.w3.weight": random(INTERMEDIATE, HIDDEN),
                prefix + f"block_sparse_moe.experts.{expert}.w2.weight": zeros(HIDDEN, INTERMEDIATE),
            }
    return weights


def make_config(tokenizer: Tokenizer, context_length: int) -> dict[str, object]:
    """The attributes that SGLang's minimax_m2.py reads; QK norm is off because 0.5.10.post1 has none on a CPU."""
    return {
        "architectures": ["MiniMaxM2ForCausalLM"],
        "model_type": "minimax_m2",
        "auto_map": {"AutoConfig": "configuration_minimax_m2.MiniMaxM2Config"},
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "num_local_experts": EXPERTS,
        "num_experts_per_tok": EXPERTS_PER_TOKEN,
        "intermediate_size": INTERMEDIATE,
        "rotary_dim": 16,
        "use_qk_norm": False,
        "qk_norm_type": "per_layer",
        "use_routing_bias": True,
        "scoring_func": "sigmoid",
        "vocab_size": VOCABULARY,
        "rope_theta": 5000000,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": context_length,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": tokenizer.token_to_id(BOS),
        "eos_token_id": tokenizer.token_to_id(EOS),
        "pad_token_id": tokenizer.token_to_id(PAD),
    }


def main(folder: Path, context_length: int) -> None:
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer()
    if tokenizer.get_vocab_size() > VOCABULARY:
        raise SystemExit(f"{tokenizer.get_vocab_size()} tokens do not fit a vocabulary of {VOCABULARY}")
    tokenizer.save(str(folder / "tokenizer.json"))
    weights = make_weights(tokenizer)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = make_config(tokenizer, context_length)
    documents = {
        "config.json": config,
        "generation_config.json": {
            "bos_token_id": config["bos_token_id"],
            "eos_token_id": config["eos_token_id"],
            "do_sample": True,
            "temperature": 1.0,
            "top_p": 0.95,
            "top_k": 40,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": EOS,
            "pad_token": PAD,
            "model_max_length": context_length,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
        "model.safetensors.index.json": {
            "metadata": {"total_size": sum(value.numel() * value.element_size() for value in weights.values())},
            "weight_map": dict.fromkeys(weights, "model.safetensors"),
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=1))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    (folder / "configuration_minimax_m2.py").write_text(CONFIGURATION)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
