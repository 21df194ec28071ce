import { join } from 'node:path';
import { adaptedModules, loraLayout } from '@pairwise/model';
import { writeSafetensors } from '@pairwise/safetensors';
import type { BaseModel, LoraSettings, ModelConfig } from '@pairwise/model';
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
  model: { baseModel: Pick<BaseModel, 'config' | 'isTextPart'>; adapter: Adapter; base: BaseModelName },
): Promise<string[]> {
  const { lora, parameters } = model.adapter;
  const { config, isTextPart } = model.baseModel;
  const tensors = adapterTensors(loraLayout(config, lora), parameters).map((tensor) => ({
    ...tensor,
    // transformers loads a model for images and text whole, and its text part has other names there.
    name: isTextPart ? tensor.name.replace('.model.layers.', '.model.language_model.layers.') : tensor.name,
  }));
  // PEFT rejects files without the name of a framework.
  const weights = writeSafetensors(tensors, { format: 'pt' });
  await writeFileFrom(join(folder, 'adapter_model.safetensors'), [weights]);
  const text = `${JSON.stringify(peftConfig(config, lora, model.base), null, 2)}\n`;
  await writeFileFrom(join(folder, 'adapter_config.json'), [Buffer.from(text)]);
  return ['adapter_config.json', 'adapter_model.safetensors'];
}

function peftConfig({ architecture }: ModelConfig, lora: LoraSettings, base: BaseModelName) {
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: base.name,
    revision: base.revision ?? null,
    r: lora.r,
    lora_alpha: lora.loraAlpha,
    target_modules: adaptedModules(architecture, lora).sort(),
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
