import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from 'tokenizers';
import { expectedTensors, parseConfig } from '@pairwise/model';
import { float32ToFloat16, writeSafetensors } from '@pairwise/safetensors';
import { exchangeText, promptText } from './chat.ts';
import { exchanges } from './conversations.ts';
import { writeData, writeTokenizer } from './material.ts';
import { pretrain, type Sequence } from './pretrain.ts';
import { modelConfig, pretraining } from './recipe.ts';

// npm run demo:remake: rewrites the example's data and retrains its base model from scratch. Takes ten minutes on two cores.

const examples = process.argv[2] ?? new URL('../../examples/', import.meta.url).pathname;

await writeData(join(examples, 'data'));
await writeModel(join(examples, 'model'));

async function writeModel(folder: string): Promise<void> {
  const config = parseConfig(modelConfig);
  const sequences = await encodedExchanges(Tokenizer.fromString(await writeTokenizer(folder)));
  const started = performance.now();
  const weights = await pretrain(config, sequences, pretraining, (step, loss) => {
    if (step % 50 !== 0) return;
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    console.log(`step ${step} of ${pretraining.stepCount}: loss ${loss.toFixed(4)} after ${seconds} s`);
  });
  const tensors = [...expectedTensors(config)].map(([name, shape]) => {
    return { name, dtype: 'F16' as const, shape, data: float32ToFloat16(weights.get(name)!) };
  });
  await writeFile(join(folder, 'model.safetensors'), writeSafetensors(tensors, { format: 'pt' }));
}

/** Encodes the base model's training data, all at once, because encoding is asynchronous but training pulls synchronously. */
async function encodedExchanges(tokenizer: Tokenizer): Promise<Iterator<Sequence, never>> {
  const source = exchanges(pretraining.seed);
  const wanted = pretraining.stepCount * (pretraining.tokensPerStep + modelConfig.max_position_embeddings);
  const sequences: Sequence[] = [];
  for (let tokens = 0; tokens < wanted;) {
    const batch = Array.from({ length: 1000 }, () => source.next().value);
    const whole = await tokenizer.encodeBatch(batch.map(exchangeText));
    const prompts = await tokenizer.encodeBatch(batch.map(({ question }) => promptText(question)));
    whole.forEach((encoding, index) => {
      const ids = Int32Array.from(encoding.getIds());
      sequences.push({ ids, promptLength: prompts[index]!.getLength() });
      tokens += ids.length;
    });
  }
  return sequences.values() as Iterator<Sequence, never>;
}
