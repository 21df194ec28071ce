import { Template } from '@huggingface/jinja';
import { PairwiseError } from '@pairwise/errors';
import { RowError, type Message } from '@pairwise/preference';

/** Renders messages, with the beginning of an answer at the end if asked to. */
export type Render = (messages: readonly Message[], addGenerationPrompt: boolean) => string;

/**
 * A chat template, ready to render. `specialTokens` are what it knows as `bos_token` and so on.
 * Throws UNSUPPORTED_CONFIG for a template that cannot be parsed, and `Render` RowError for messages that it refuses.
 */
export function openTemplate(source: string, specialTokens: Record<string, string>): Render {
  let template: Template;
  try {
    // On a line of its own, which is taken away again, so that the template's white space stays as it is.
    template = new Template(`{% set strftime_now = fixed_date %}\n${source}`);
  } catch (cause) {
    const message = `the chat template is not understood: ${cause instanceof Error ? cause.message : 'it is not a template'}`;
    throw new PairwiseError('UNSUPPORTED_CONFIG', message, { field: 'chat_template', cause });
  }
  return (messages, addGenerationPrompt) => {
    let text: string;
    try {
      text = template.render({
        ...specialTokens,
        messages: messages.map(({ role, content }) => ({ role, content })),
        add_generation_prompt: addGenerationPrompt,
        fixed_date: fixedDate,
      });
    } catch {
      // Its own message may repeat text of the row.
      throw new RowError(
        'NOT_REVERSIBLE',
        "the model's chat template refuses the messages, such as their order of roles",
      );
    }
    if (text.length <= maxLength) return text;
    throw overBudget(`writes ${text.length} characters (at most ${maxLength})`);
  };
}

/** Longest text that a template may write, in characters: twice the largest row of a data set. */
const maxLength = 8 * 1024 * 1024;

/** A template that costs too much for one conversation. */
export function overBudget(problem: string): PairwiseError {
  const remedy = 'simplify its loops, or remove it and give the pairs as plain texts';
  const message = `chat_template ${problem} for one conversation; ${remedy}`;
  return new PairwiseError('UNSUPPORTED_CONFIG', message, { field: 'chat_template' });
}

/** Templates that write today's date fall back to this one; with today's the same pair would be others tomorrow. */
const date: Record<string, string> = { '%d': '26', '%b': 'Jul', '%B': 'July', '%m': '07', '%Y': '2024', '%y': '24' };

function fixedDate(format: string): string {
  return format.replace(/%[a-zA-Z]/g, (part) => date[part] ?? '00');
}
