import { join } from 'node:path';
import { Encoding } from '@pairwise/api';
import { sharedFolder } from '@pairwise/testing';
import { describe, expect, test } from 'vitest';
import { servingOf } from './serving.ts';
import { modelFolder } from './testing.ts';

const shared = sharedFolder();
const chats = Encoding.create({ pairCount: 8, conversationCount: 8, chatTemplateDate: '2024-07-26' });
const texts = Encoding.create({ pairCount: 8, chatTemplateDate: '2024-07-26' });

describe.skipIf(shared === undefined)('what is served is what was trained', () => {
  const serving = async (name: string, encoding: Encoding) =>
    servingOf(await modelFolder(join(shared!, 'cases', name, 'model')), encoding);

  test('llama.cpp adds no BOS that the chat template does not write, unless plain texts were trained', async () => {
    const name = 'bos-in-training-not-in-export';
    expect((await serving(name, chats)).tokenizer.special.addsBos).toBe(false);
    const plain = await serving(name, texts);
    expect(plain.tokenizer.special.addsBos).toBe(true);
    expect(plain.chat).toBe('plain text');
  });

  test('the end of a turn is what the template writes after an answer, and every eos token stops', async () => {
    const { tokenizer, stops } = await serving('end-of-turn-not-in-gguf', chats);
    expect(tokenizer.special).toMatchObject({ eosId: 2, endOfTurnId: 513 });
    expect(stops).toEqual(['[turnover]', '</s>']);
  });

  test('a template that writes the date has a caveat with the day that was trained', async () => {
    const { caveats } = await serving('date-formats', chats);
    expect(caveats).toEqual([expect.stringContaining('2024-07-26 was trained')]);
    expect((await serving('date-formats', texts)).caveats).toEqual([]);
  });

  test('a template that needs a system message has no Modelfile template, but can be exported', async () => {
    const { chat, stops, caveats } = await serving('system-message-required', chats);
    expect([chat, stops[0]]).toEqual([undefined, '<|im_end|>']);
    expect(caveats).toEqual([expect.stringContaining('the Modelfile has no TEMPLATE')]);
  });
});
