import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sharedFolder } from '@pairwise/testing';
import { describe, expect, test } from 'vitest';
import { openTokenizer, type Limitations, type TokenizerFiles } from './index.ts';
import { byteLevelFiles } from './testing.ts';

async function limitationsOf(files: TokenizerFiles): Promise<Limitations> {
  await using tokenizer = await openTokenizer(files);
  return await tokenizer.limitations();
}

const config = JSON.stringify({ vocab_size: 300 });
const chat = (template: string) => limitationsOf({ ...byteLevelFiles(), config, chatTemplate: template });
const turns = "{% for m in messages %}<s>{{ m.role + '\n' + m.content }}</s>{% endfor %}";

test('a plain model has none, with or without a chat template', async () => {
  const none = { warnings: [], ggufObstacle: undefined };
  expect(await limitationsOf({ ...byteLevelFiles(), config })).toEqual(none);
  expect(await chat(`${turns}{% if add_generation_prompt %}<s>assistant\n{% endif %}`)).toEqual(none);
});

test('a template that refuses every conversation is quoted', async () => {
  const { warnings } = await chat(`{{ raise_exception('not today') }}`);
  expect(warnings).toEqual([
    "No pair can become a conversation: the model's chat template refuses the messages: not today.",
    expect.stringContaining('no form in Ollama'),
  ]);
});

test('a template that Ollama cannot express is reported', async () => {
  const { warnings } = await chat('{% for m in messages %}{{ loop.index }} {{ m.content }}{% endfor %}');
  expect(warnings).toEqual([expect.stringContaining('no form in Ollama')]);
});

test('what llama.cpp does otherwise is reported', async () => {
  const { warnings } = await limitationsOf({ ...byteLevelFiles({ normalizer: { type: 'NFC' } }), config });
  expect(warnings).toEqual(["GGUF: llama.cpp does not apply the tokenizer's NFC normalisation of Unicode."]);
});

test('many tokens without a row are counted, and a few are named', async () => {
  const { warnings, ggufObstacle } = await limitationsOf({
    ...byteLevelFiles(),
    config: JSON.stringify({ vocab_size: 256 }),
  });
  expect(warnings[0]).toMatch(
    /^The embedding has 256 rows, too few for these tokens: (.+ \(\d+\)(, )?){3} and \d+ more\./,
  );
  expect(ggufObstacle).toMatchObject({ reason: 'INVALID_MODEL' });
});

describe.skipIf(sharedFolder() === undefined)('model folders that failed (skipped without ../shared)', () => {
  const ofCase = (name: string) => {
    const text = (file: string) => {
      const path = join(sharedFolder()!, 'cases', name, 'model', file);
      return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
    };
    return limitationsOf({
      tokenizerJson: text('tokenizer.json')!,
      tokenizerConfig: text('tokenizer_config.json'),
      chatTemplate: text('chat_template.jinja'),
      generationConfig: text('generation_config.json'),
      config: text('config.json'),
    });
  };

  test.each<[string, string, string | undefined]>([
    [
      'vocabulary-past-embedding',
      'The embedding has 512 rows, too few for these tokens: "▁lake" (512), "▁la" (513), "ke" (514). ' +
        'Pairs that need them are left out.',
      "tokenizer.json has a token with id 514, but the model's embedding has 512 rows",
    ],
    [
      'token-id-past-embedding',
      'The embedding has 512 rows, too few for these tokens: "<pad>" (512). Pairs that need them are left out.',
      undefined,
    ],
    [
      'system-message-required',
      "Only pairs with a system message can become conversations. Without one, the model's chat template refuses the " +
        'messages: a system message is required.',
      undefined,
    ],
    [
      'r1-template-unclear',
      'No pair can become a conversation: the model\'s chat template ends a prompt with "<think>", which a given ' +
        'response does not follow; edit chat_template.jinja, or give the pairs as plain texts and set chat_template to NONE.',
      undefined,
    ],
  ])('%s: %s', async (name, warning, obstacle) => {
    const { warnings, ggufObstacle } = await ofCase(name);
    expect(warnings).toContain(warning);
    expect(ggufObstacle?.message).toBe(obstacle);
  });

  test('gguf-tokenizer-told-after-training has no form in GGUF', async () => {
    expect(await ofCase('gguf-tokenizer-told-after-training')).toEqual({
      warnings: [],
      ggufObstacle: {
        reason: 'UNSUPPORTED_FORMAT',
        message: 'tokenizer.json: llama.cpp does not support the pre_tokenizer Digits in a byte-fallback tokenizer',
      },
    });
  });
});
