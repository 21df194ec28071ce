import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseConfig } from '@pairwise/model';
import { exchanges, heldOutPairs, heldOutQuestions, preferencePairs, type Preference } from './conversations.ts';
import { modelConfig, recipe } from './recipe.ts';
import { tokenizerConfig, trainTokenizer } from './vocabulary.ts';

/** Writes the demo's preference pairs and questions. The bytes are always the same. */
export async function writeData(folder: string): Promise<void> {
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

/** Writes the base model's config and tokenizer, and returns the tokenizer. The bytes are always the same. */
export async function writeTokenizer(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const { vocabularySize, maxLength } = parseConfig(modelConfig);
  const source = exchanges(recipe.seed);
  const texts = Array.from({ length: recipe.tokenizerExchanges }, () => source.next().value);
  const text = texts.map(({ question, answer }) => `${question}\n${answer}\n`).join('');
  const tokenizer = await trainTokenizer(text, vocabularySize);
  await writeJson(join(folder, 'config.json'), modelConfig);
  await writeJson(join(folder, 'tokenizer.json'), tokenizer);
  await writeJson(join(folder, 'tokenizer_config.json'), tokenizerConfig(maxLength));
  return JSON.stringify(tokenizer);
}

async function writeLines(path: string, rows: readonly unknown[]): Promise<void> {
  await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2)}\n`);
}
