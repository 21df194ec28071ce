import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LoraShape } from '@pairwise/model';
import { writeFileFrom } from './files.ts';
import { safetensorsStream } from './safetensors.ts';
import { encodeWeights } from './storage.ts';
import type { Adapter } from './weights.ts';

/** The base model that an adapter belongs to, as its folder names it. */
export interface BaseModelName {
  /** Hub repository, or the name by which the model was imported. */
  name: string;
  /** Hub commit, if it came from the hub. */
  revision: string | undefined;
}

/**
 * Writes an adapter as PEFT does (`adapter_config.json`, `adapter_model.safetensors` in float32), for
 * `PeftModel.from_pretrained` and everything else that reads it. Returns the names of the files.
 */
export async function writeAdapterArtifact(folder: string, adapter: Adapter, base: BaseModelName): Promise<string[]> {
  const sorted = [...adapter.tensors].sort(([a], [b]) => (a < b ? -1 : 1));
  const streamed = sorted.map(([name, { shape, data }]) => ({
    name,
    type: 'F32' as const,
    shape,
    data: () => [encodeWeights(data, 'F32')],
  }));
  await writeFileFrom(join(folder, 'adapter_model.safetensors'), safetensorsStream(streamed));
  await writeFile(join(folder, 'adapter_config.json'), `${JSON.stringify(peftConfig(adapter.lora, base), null, 2)}\n`);
  return ['adapter_config.json', 'adapter_model.safetensors'];
}

function peftConfig(lora: LoraShape, base: BaseModelName) {
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: base.name,
    revision: base.revision ?? null,
    r: lora.r,
    lora_alpha: lora.alpha,
    target_modules: [...lora.targetModules].sort(),
    use_rslora: lora.useRslora,
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    modules_to_save: null,
    layers_to_transform: null,
    layers_pattern: null,
    rank_pattern: {},
    alpha_pattern: {},
    use_dora: false,
  };
}
