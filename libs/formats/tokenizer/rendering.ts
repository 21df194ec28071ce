import { PairwiseError } from '@pairwise/errors';
import { RowError, type PairTokenizer, type Turn } from '@pairwise/preference';
import type { Render } from './template.ts';

/** How prompts and responses become the texts that are encoded. */
export interface Rendering extends Pick<PairTokenizer, 'renderPrompt' | 'renderResponse'> {
  /** Renders with the chat template. Throws UNSUPPORTED_CONFIG if there is none. */
  render: Render;
}

/**
 * Renders the parts of pairs. `template` is the chat template with its `source`, if the model has one; `endOfText` ends
 * responses that are plain texts.
 */
export function openRendering(
  template: Render | undefined,
  source: string | undefined,
  endOfText: string | undefined,
): Rendering {
  const render: Render = (messages, addGenerationPrompt) => {
    if (template !== undefined) return template(messages, addGenerationPrompt);
    const remedy = 'give the pairs as plain texts, or import the model with a chat_template.jinja';
    throw new PairwiseError('UNSUPPORTED_CONFIG', `the model has no chat template for message lists; ${remedy}`, {
      field: 'chat_template',
    });
  };
  // Both responses need the text of the same prompt.
  let last: { prompt: Turn; text: string } | undefined;
  const renderPrompt = (prompt: Turn) => {
    if (typeof prompt === 'string') return prompt;
    if (last?.prompt !== prompt) last = { prompt, text: render(prompt, true) };
    return last.text;
  };
  return {
    render,
    renderPrompt,
    renderResponse: (prompt, response) => {
      if (typeof response === 'string') {
        if (endOfText === undefined) {
          throw new PairwiseError('UNSUPPORTED_CONFIG', 'the model names no end-of-text token (eos_token)', {
            field: 'eos_token',
          });
        }
        // Some datasets already contain it.
        return response.endsWith(endOfText) ? response : response + endOfText;
      }
      if (typeof prompt === 'string')
        throw new RowError('WRONG_TYPE', 'the response is of messages, its prompt of text');
      const whole = render([...prompt, ...response], false);
      const start = renderPrompt(prompt);
      if (whole.startsWith(start)) return whole.slice(start.length);
      throw new RowError('NOT_REVERSIBLE', changedPrompt(start, whole, source ?? ''));
    },
  };
}

/** Explains why a rendered prompt is not the beginning of its conversation. Quotes only text of the template itself. */
function changedPrompt(prompt: string, whole: string, source: string): string {
  let same = 0;
  while (same < prompt.length && prompt[same] === whole[same]) same += 1;
  const ending = prompt.slice(same).trim();
  const problem =
    ending !== '' && source.includes(ending)
      ? `ends a prompt with ${JSON.stringify(ending)}, which a given response does not follow`
      : 'changes the prompt when a response follows';
  // A text alone would become a conversation of this template.
  const remedy = 'edit chat_template.jinja, or give the pairs as plain texts and set chat_template to NONE';
  return `the model's chat template ${problem}; ${remedy}`;
}
