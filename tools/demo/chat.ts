import type { Exchange } from './conversations.ts';

/** The demo tokenizer's special tokens, by id. `user` begins every conversation, so no beginning token is needed. */
export const specialTokens = ['<|end|>', '<|user|>', '<|assistant|>'] as const;
export const [end, user, assistant] = specialTokens;

/** The model's chat template, in Jinja. System messages are refused, because the model was never trained on any. */
export const chatTemplate = `
{%- for message in messages %}
{%- if message['role'] == 'user' %}{{ '${user}' + message['content'] }}
{%- elif message['role'] == 'assistant' %}{{ '${assistant}' + message['content'] + '${end}' }}
{%- else %}{{ raise_exception('this model knows the roles user and assistant only') }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '${assistant}' }}{% endif %}`;

/** A question as the chat template renders it, ready for an answer. */
export function promptText(question: string): string {
  return `${user}${question}${assistant}`;
}

/** A question and its answer as the chat template renders them. */
export function exchangeText({ question, answer }: Exchange): string {
  return `${promptText(question)}${answer}${end}`;
}
