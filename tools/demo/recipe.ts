import type { Pretraining } from './pretrain.ts';

/** All choices about the demo's data and base model. `npm run demo:remake` writes `examples/` from them. */
export const recipe = {
  seed: 1,
  pairCount: 1000,
  heldOutPairCount: 100,
  questionCount: 300,
  /** Number of exchanges that the tokenizer is trained on. */
  tokenizerExchanges: 20_000,
};

/** `config.json`. The model has 480,096 parameters, which take less than 1 MB in float16. */
export const modelConfig = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 96,
  intermediate_size: 256,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 24,
  vocab_size: 768,
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: 'silu',
  attention_bias: false,
  mlp_bias: false,
  tie_word_embeddings: true,
  bos_token_id: null,
  eos_token_id: 0,
  torch_dtype: 'float16',
};

export const pretraining: Pretraining = {
  seed: recipe.seed,
  stepCount: 1900,
  tokensPerStep: 2560,
  learningRate: 5e-3,
  warmupSteps: 100,
  promptWeight: 0.1,
  threads: 2,
};
