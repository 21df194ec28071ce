import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileFrom } from './files.ts';
import { safetensorsStream } from './safetensors.ts';
import { encodeWeights } from './storage.ts';

/** What a PEFT adapter folder says, besides its weights. */
export interface AdapterDescription {
  /** Hub repository of the base model, or the name by which it was imported. */
  baseModel: string;
  /** Hub commit of the base model, if it came from the hub. */
  revision: string | undefined;
  r: number;
  alpha: number;
  /** Names of the adapted layers, such as `q_proj`. */
  targetModules: readonly string[];
  useRslora: boolean;
}

/**
 * Writes an adapter as PEFT does (`adapter_config.json`, `adapter_model.safetensors` in float32), for
 * `PeftModel.from_pretrained` and everything else that reads it. Returns the names of the files.
 */
export async function writeAdapterArtifact(
  folder: string,
  description: AdapterDescription,
  tensors: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>,
): Promise<string[]> {
  const sorted = [...tensors].sort(([a], [b]) => (a < b ? -1 : 1));
  const streamed = sorted.map(([name, { shape, data }]) => ({
    name,
    type: 'F32' as const,
    shape,
    data: () => [encodeWeights(data, 'F32')],
  }));
  await writeFileFrom(join(folder, 'adapter_model.safetensors'), safetensorsStream(streamed));
  await writeFile(join(folder, 'adapter_config.json'), `${JSON.stringify(peftConfig(description), null, 2)}\n`);
  return ['adapter_config.json', 'adapter_model.safetensors'];
}

function peftConfig(description: AdapterDescription) {
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: description.baseModel,
    revision: description.revision ?? null,
    r: description.r,
    lora_alpha: description.alpha,
    target_modules: [...description.targetModules].sort(),
    use_rslora: description.useRslora,
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
