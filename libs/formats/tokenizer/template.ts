import { PairwiseError } from '@pairwise/errors';
import { RowError, type Message } from '@pairwise/preference';
import { parseTemplate, type JinjaTemplate } from './jinja/parse.ts';
import { strftime } from './jinja/strftime.ts';

/** Renders messages, followed by the generation prompt if `addGenerationPrompt` is set. */
export type Render = (messages: readonly Message[], addGenerationPrompt: boolean) => string;

/** What a template sees besides the messages. */
export interface TemplateSettings {
  /** Texts of the special tokens by their names in chat templates, such as `bos_token`. */
  specialTokens: Readonly<Record<string, string>>;
  /** The day that `strftime_now` writes, as YYYY-MM-DD. It is fixed, so that a pair has the same token ids tomorrow. */
  date: string;
}

/** The message of a template's own `raise_exception`. */
class Refused extends Error {}

/**
 * Parses a chat template. It is rendered with the same variables as by transformers' `apply_chat_template`.
 * Throws UNSUPPORTED_CONFIG for a template that cannot be parsed. `Render` throws RowError for messages that the template
 * refuses, and UNSUPPORTED_CONFIG for a construct that we do not support.
 */
export function openTemplate(source: string, { specialTokens, date }: TemplateSettings): Render {
  let template: JinjaTemplate;
  try {
    template = parseTemplate(source);
  } catch (cause) {
    throw unsupported(cause);
  }
  const today = new Date(`${date}T00:00:00Z`);
  const functions = {
    strftime_now: (format: string) => strftime(today, format),
    raise_exception: (message: string) => {
      throw new Refused(message);
    },
  };
  return (messages, addGenerationPrompt) => {
    let text: string;
    try {
      text = template({
        ...specialTokens,
        ...functions,
        messages: messages.map(({ role, content }) => ({ role, content })),
        tools: null,
        documents: null,
        add_generation_prompt: addGenerationPrompt,
      });
    } catch (error) {
      throw refusal(error, source);
    }
    if (text.length <= maxLength) return text;
    throw overBudget(`writes ${text.length} characters (at most ${maxLength})`);
  };
}

/**
 * The library's messages for a filter, test, operator or statement that it does not have begin like this, and those for
 * mappings of numbers.
 */
const unknownConstruct = /^(Unknown |Object keys must be strings)/;

function refusal(error: unknown, source: string): Error {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof Refused) {
    // Only if the template contains the message literally: otherwise it may repeat text of the row.
    const reason = message !== '' && source.includes(message) ? `: ${message}` : '';
    return new RowError('NOT_REVERSIBLE', `the model's chat template refuses the messages${reason}`);
  }
  if (unknownConstruct.test(message)) return unsupported(error);
  return new RowError('NOT_REVERSIBLE', `the model's chat template fails on the messages: ${message.slice(0, 200)}`);
}

function unsupported(cause: unknown): PairwiseError {
  const problem = cause instanceof Error ? cause.message : 'it is not a template';
  const message = `chat_template is not supported: ${problem}; simplify it, or remove it and give the pairs as plain texts`;
  return new PairwiseError('UNSUPPORTED_CONFIG', message, { field: 'chat_template', cause });
}

/** Longest text that a template may write, in characters: twice the largest row of a data set. */
const maxLength = 8 * 1024 * 1024;

/** A template that costs too much for one conversation. */
export function overBudget(problem: string): PairwiseError {
  const remedy = 'simplify its loops, or remove it and give the pairs as plain texts';
  const message = `chat_template ${problem} for one conversation; ${remedy}`;
  return new PairwiseError('UNSUPPORTED_CONFIG', message, { field: 'chat_template' });
}
