import { join } from 'node:path';
import { loraLayout } from '@pairwise/model';
import { writeSafetensors } from '@pairwise/safetensors';
import type { LoraSettings, ModelConfig } from '@pairwise/model';
import { adapterTensors } from '@pairwise/training';
import type { BaseModelName } from './baseModelName.ts';
import { writeFileFrom } from './files.ts';
import type { Adapter } from './weights.ts';

/**
 * Writes an adapter in PEFT's format: `adapter_config.json`, and `adapter_model.safetensors` in float32. Returns the names
 * of the files.
 */
export async function writeAdapterArtifact(
  folder: string,
  model: { config: ModelConfig; adapter: Adapter; base: BaseModelName },
): Promise<string[]> {
  const { lora, parameters } = model.adapter;
  const tensors = adapterTensors(loraLayout(model.config, lora), parameters);
  // PEFT rejects files without the name of a framework.
  const weights = writeSafetensors(tensors, { format: 'pt' });
  await writeFileFrom(join(folder, 'adapter_model.safetensors'), [weights]);
  const config = `${JSON.stringify(peftConfig(lora, model.base), null, 2)}\n`;
  await writeFileFrom(join(folder, 'adapter_config.json'), [Buffer.from(config)]);
  return ['adapter_config.json', 'adapter_model.safetensors'];
}

function peftConfig(lora: LoraSettings, base: BaseModelName) {
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: base.name,
    revision: base.revision ?? null,
    r: lora.r,
    lora_alpha: lora.loraAlpha,
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
