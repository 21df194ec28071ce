/**
 * The process in which a model's tokenizer and chat template run. It is a process of its own because the tokenizers
 * library ends its whole process (abort) on some files, and because others, like some templates, take time or memory
 * without end.
 */
import { PairwiseError } from '@pairwise/errors';
import { chatFormatOf } from '@pairwise/gguf';
import { encodePair, RowError } from '@pairwise/preference';
import { confineThisProcess } from './confine.ts';
import { openEngine, type Engine } from './engine.ts';
import { limitationsOf } from './limitations.ts';
import {
  rendersMessages,
  type Failure,
  type ReplyMessage,
  type RequestMessage,
  type RequestName,
  type Requests,
} from './requests.ts';

confineThisProcess(Number(process.argv[2]));
let opened: Engine | undefined;
let tokenizerJson = '';

function engine(): Engine {
  if (!opened) throw new Error('no tokenizer is open');
  return opened;
}

const answers: {
  [Name in RequestName]: (args: Requests[Name]['args']) => Promise<Requests[Name]['result']> | Requests[Name]['result'];
} = {
  async open({ files, date }) {
    opened = await openEngine(files, date);
    ({ tokenizerJson } = files);
    const { chatTemplate, special } = opened;
    return { chatTemplate, special };
  },
  encodePair: ({ pair, options }) => encodePair(pair, engine(), options),
  render: ({ messages, addGenerationPrompt }) => engine().render(messages, addGenerationPrompt),
  chatFormat: () => chatFormatOf((messages, { addGenerationPrompt }) => engine().render(messages, addGenerationPrompt)),
  decode: (ids) => engine().decode(ids),
  limitations: () => limitationsOf(engine(), tokenizerJson),
};

function failureOf(error: unknown): Failure {
  if (error instanceof RowError) return { refusal: error.refusal, message: error.message };
  if (error instanceof PairwiseError) {
    const { reason, message, field } = error;
    return { reason, message, ...(field !== undefined && { field }) };
  }
  // What the tokenizers library throws while it encodes, or a stack that overflows on a file nested too deeply.
  const problem = error instanceof Error ? error.message : String(error);
  const message = `tokenizer.json cannot be used: ${problem.slice(0, 300)}; save the tokenizer again or use another model`;
  return { reason: 'INVALID_MODEL', message, field: 'tokenizer.json' };
}

async function answer({ id, name, args }: RequestMessage): Promise<ReplyMessage> {
  try {
    if (name === 'open') process.send?.({ id, rendering: true } satisfies ReplyMessage);
    const result = answers[name](args as never);
    // The template has rendered everything by now, because nothing was awaited before.
    if (name === 'open' || rendersMessages(name, args)) process.send?.({ id, rendering: false } satisfies ReplyMessage);
    return { id, result: await result };
  } catch (error) {
    return { id, failure: failureOf(error) };
  }
}

process.on('message', (message) => {
  void answer(message as RequestMessage).then((reply) => process.send?.(reply));
});
// At once: an orderly exit waits for what the threads of the tokenizer are at.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
