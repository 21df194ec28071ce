import { readFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { encodePair, pairOfRow, type EncodeOptions, type PreferencePair } from '@pairwise/preference';
import { byteLevelTokenizer, sharedFolder } from '@pairwise/testing';
import { describe, expect, test } from 'vitest';
import { openEngine } from './engine.ts';

const options: EncodeOptions = { maxLength: 4096, truncationMode: 'REFUSE', chatTemplate: 'AUTO' };
const specials = ['<s>', '</s>', '<|user|>', '<|end|>'];
const id = (token: string) => 256 + specials.indexOf(token);
const turns = "{% for m in messages %}{{ '<|user|>' if m.role == 'user' else '' }}{{ m.content }}<|end|>\n{% endfor %}";

/** A byte-level tokenizer with a chat template. */
function open(chatTemplate: string | undefined, change: { config?: object; generation?: object; map?: object } = {}) {
  const json = JSON.stringify;
  const config = change.config ?? { bos_token: '<s>', eos_token: '</s>', add_bos_token: true };
  return openEngine({
    tokenizerJson: json(byteLevelTokenizer([], specials)),
    tokenizerConfig: json(config),
    specialTokensMap: json(change.map ?? {}),
    generationConfig: json(change.generation ?? {}),
    chatTemplate,
  });
}

describe('a BOS', () => {
  const chat: PreferencePair = {
    prompt: [{ role: 'user', content: 'a' }],
    chosen: [{ role: 'assistant', content: 'b' }],
    rejected: [{ role: 'assistant', content: 'c' }],
  };
  const texts: PreferencePair = { prompt: 'a', chosen: 'b', rejected: 'c' };

  test('begins a conversation only if the chat template writes it', async () => {
    const without = await open(turns);
    expect(without.special).toMatchObject({ bosId: id('<s>'), bosBeginsTexts: true, bosBeginsChats: false });
    expect((await encodePair(chat, without, options)).prompt[0]).toBe(id('<|user|>'));
    expect((await encodePair(texts, without, { ...options, chatTemplate: 'NONE' })).prompt[0]).toBe(id('<s>'));
    const written = await open(`{{ bos_token }}${turns}`);
    expect(written.special.bosBeginsChats).toBe(true);
    const { prompt } = await encodePair(chat, written, options);
    expect([...prompt.subarray(0, 2)]).toEqual([id('<s>'), id('<|user|>')]);
  });

  test('is known without a template, too', async () => {
    const { special } = await open(undefined);
    expect(special).toMatchObject({ bosBeginsTexts: true, bosBeginsChats: undefined, endOfTurnId: id('</s>') });
  });
});

describe('the end of a turn', () => {
  test.each([
    ['is what the template writes after an answer', {}, ['<|end|>', '</s>']],
    ['is so wherever it stands in the list', { eos_token_id: [257, 259] }, ['<|end|>', '</s>']],
    ['is so in the other order', { eos_token_id: [259, 257] }, ['<|end|>', '</s>']],
  ])('%s', async (_, generation, stops) => {
    const { special } = await open(turns, { generation });
    expect(special).toMatchObject({ endOfTurnId: id('<|end|>'), eosId: id('</s>'), stopIds: stops.map(id) });
  });

  test('is found where the template needs a system message', async () => {
    const strict = `{% if messages[0].role != 'system' %}{{ raise_exception('no') }}{% endif %}${turns}`;
    expect((await open(strict)).special.endOfTurnId).toBe(id('<|end|>'));
  });

  test('is the EOS where the template writes neither', async () => {
    const { special } = await open('{% for m in messages %}{{ m.content }}\n{% endfor %}');
    expect(special).toMatchObject({ endOfTurnId: id('</s>'), stopIds: [id('</s>')] });
  });
});

test('special tokens of special_tokens_map.json and extra ones are known to the template', async () => {
  const map = { bos_token: { content: '<s>' }, eos_token: '</s>' };
  const config = { extra_special_tokens: { user_token: '<|user|>' } };
  const tokenizer = await open('{{ bos_token }}{{ user_token }}{{ messages[0].content }}{{ eos_token }}', {
    map,
    config,
  });
  expect(tokenizer.render([{ role: 'user', content: 'a' }], true)).toBe('<s><|user|>a</s>');
  expect(tokenizer.special).toMatchObject({ bosId: id('<s>'), eosId: id('</s>') });
});

describe('pairs of texts on a model with a chat template', () => {
  const template = `{{ bos_token }}${turns}`;
  const text = async (pair: PreferencePair, chatTemplate: EncodeOptions['chatTemplate']) => {
    const tokenizer = await open(template);
    const { prompt, chosen, isConversation } = await encodePair(pair, tokenizer, { ...options, chatTemplate });
    return [await tokenizer.decode(Int32Array.of(...prompt, ...chosen)), isConversation];
  };
  const plain = { prompt: 'a', chosen: 'b', rejected: 'c' };
  const transcript = { prompt: '\n\nHuman: a\n\nAssistant:', chosen: ' b', rejected: ' c' };
  const marked = { prompt: '<|user|>a<|end|>\n', chosen: 'b', rejected: 'c' };

  test.each<[string, PreferencePair, EncodeOptions['chatTemplate'], string, boolean]>([
    ['become conversations', plain, 'AUTO', '<s><|user|>a<|end|>\nb<|end|>\n', true],
    ['stay texts if asked to', plain, 'NONE', '<s>ab</s>', false],
    ['stay texts if they are transcripts', transcript, 'AUTO', '<s>\n\nHuman: a\n\nAssistant: b</s>', false],
    ['stay texts if they are written with special tokens', marked, 'AUTO', '<s><|user|>a<|end|>\nb</s>', false],
    ['become conversations if asked to', marked, 'APPLY', '<s><|user|><|user|>a<|end|>\n<|end|>\nb<|end|>\n', true],
  ])('%s', async (_, pair, mode, wanted, isConversation) => {
    expect(await text(pair, mode)).toEqual([wanted, isConversation]);
  });

  test('messages are refused where texts are to stay texts', async () => {
    const chat = { prompt: [{ role: 'user', content: 'a' }], chosen: [], rejected: [] };
    await expect(text(chat, 'NONE')).rejects.toMatchObject({ refusal: 'WRONG_TYPE' });
  });
});

describe.skipIf(sharedFolder() === undefined)('model folders that failed', () => {
  const folder = (name: string) => join(sharedFolder()!, 'cases', name);
  const openCase = (name: string) => {
    const text = (file: string) => {
      const path = join(folder(name), 'model', file);
      return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
    };
    return openEngine({
      tokenizerJson: text('tokenizer.json')!,
      tokenizerConfig: text('tokenizer_config.json'),
      specialTokensMap: text('special_tokens_map.json'),
      chatTemplate: text('chat_template.jinja'),
      generationConfig: text('generation_config.json'),
      config: text('config.json'),
    });
  };
  const firstPair = (name: string) =>
    pairOfRow(JSON.parse(readFileSync(join(folder(name), 'pairs.jsonl'), 'utf8').split('\n')[0]!));

  // prettier-ignore
  const chatPrompt = [512, 318, 419, 285, 13, 441, 416, 411, 328, 274, 287, 394, 261, 352, 266, 268, 388, 426, 513, 410, 13, 512, 261, 419, 419, 293, 413, 303, 413, 13];
  // The prompt's ids by apply_chat_template of transformers 5.24.
  // prettier-ignore
  test.each([
    ['bos-in-training-not-in-export', chatPrompt],
    ['end-of-turn-not-in-gguf', chatPrompt],
    ['tools-is-not-none', chatPrompt],
    ['special-tokens-map-only', [1, 318, 419, 285, 467, 385, 328, 274, 287, 394, 261, 352, 266, 268, 388, 426, 2, 261, 419, 419, 293, 413, 303, 413, 467, 410]],
    ['system-message-required', [512, 262, 422, 356, 411, 423, 13, 445, 411, 262, 415, 304, 413, 426, 513, 410, 13, ...chatPrompt]],
    ['rstrip-tokens-caveat', [512, 318, 419, 285, 13, 441, 416, 411, 328, 274, 287, 394, 261, 352, 266, 268, 388, 426, 513, 512, 261, 419, 419, 293, 413, 303, 413, 13]],
    ['date-formats', [1, 274, 414, 418, 283, 467, 410, 453, 420, 292, 283, 432, 410, 479, 490, 410, 454, 425, 421, 422, 410, 479, 477, 479, 484, 410, 477, 477, 467, 477, 477, 13, 425, 419, 285, 467, 385, 328, 274, 287, 394, 261, 352, 266, 268, 388, 426, 13, 412, 419, 419, 293, 413, 303, 413, 467, 410]],
  ])('%s is encoded as transformers does', async (name, wanted) => {
    const { prompt } = await encodePair(firstPair(name), await openCase(name), options);
    expect([...prompt]).toEqual(wanted);
  });

  test('an end of turn that is not the eos token stops generation', async () => {
    expect((await openCase('end-of-turn-not-in-gguf')).special).toMatchObject({ endOfTurnId: 513, stopIds: [513, 2] });
  });

  test('a generation prompt that opens a thought is named as the cause', async () => {
    const encoding = encodePair(firstPair('r1-template-unclear'), await openCase('r1-template-unclear'), options);
    await expect(encoding).rejects.toMatchObject({ refusal: 'NOT_REVERSIBLE' });
    await expect(encoding).rejects.toThrow('ends a prompt with "<think>"');
  });

  test('a pair with a token that has no embedding is refused', async () => {
    const tokenizer = await openCase('token-id-past-embedding');
    const pair = { prompt: 'One day <pad>', chosen: ' a', rejected: ' b' };
    await expect(encodePair(pair, tokenizer, { ...options, chatTemplate: 'NONE' })).rejects.toMatchObject({
      refusal: 'UNKNOWN_TOKEN',
    });
  });
});
