import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from 'tokenizers';
import { expectedTensors, float32ToFloat16, parseConfig, writeSafetensors } from '@pairwise/model';
import { exchangeText, promptText } from './chat.ts';
import { exchanges, heldOutPairs, heldOutQuestions, preferencePairs, type Preference } from './conversations.ts';
import { pretrain, type Sequence } from './pretrain.ts';
import { modelConfig, pretraining, recipe } from './recipe.ts';
import { tokenizerConfig, trainTokenizer } from './vocabulary.ts';

const examples = process.argv[2] ?? new URL('../../examples/', import.meta.url).pathname;

await writeData(join(examples, 'data'));
await writeModel(join(examples, 'model'));

async function writeData(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const { seed } = recipe;
  await writeLines(join(folder, 'train.jsonl'), preferencePairs(recipe.pairCount, seed).map(rowOf));
  await writeLines(join(folder, 'eval.jsonl'), heldOutPairs(recipe.heldOutPairCount, seed).map(rowOf));
  await writeLines(join(folder, 'questions.jsonl'), heldOutQuestions(recipe.questionCount, seed));
}

function rowOf({ question, chosen, rejected }: Preference) {
  return {
    prompt: [{ role: 'user', content: question }],
    chosen: [{ role: 'assistant', content: chosen }],
    rejected: [{ role: 'assistant', content: rejected }],
  };
}

async function writeModel(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const config = parseConfig(modelConfig);
  const source = exchanges(recipe.seed);
  const texts = Array.from({ length: recipe.tokenizerExchanges }, () => source.next().value);
  const text = texts.map(({ question, answer }) => `${question}\n${answer}\n`).join('');
  const tokenizer = await trainTokenizer(text, config.vocabularySize);
  await writeJson(join(folder, 'config.json'), modelConfig);
  await writeJson(join(folder, 'tokenizer.json'), tokenizer);
  await writeJson(join(folder, 'tokenizer_config.json'), tokenizerConfig(config.maxLength));
  const sequences = await encodedExchanges(Tokenizer.fromString(JSON.stringify(tokenizer)));
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

/** The exchanges of the base model's training as ids. Encoding is asynchronous, training pulls: so all are encoded first. */
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

async function writeLines(path: string, rows: readonly unknown[]): Promise<void> {
  await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2)}\n`);
}
