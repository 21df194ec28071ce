import type { Exchange } from './conversations.ts';

/** The demo tokenizer's special tokens, by id. There is no token for the beginning: `user` begins every conversation. */
export const specialTokens = ['<|end|>', '<|user|>', '<|assistant|>'] as const;
export const [end, user, assistant] = specialTokens;

/** The model's chat template (Jinja): what a chat with it looks like. It has never seen a system message. */
export const chatTemplate = `
{%- for message in messages %}
{%- if message['role'] == 'user' %}{{ '${user}' + message['content'] }}
{%- elif message['role'] == 'assistant' %}{{ '${assistant}' + message['content'] + '${end}' }}
{%- else %}{{ raise_exception('this model knows the roles user and assistant only') }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '${assistant}' }}{% endif %}`;

/** What the chat template makes of a question to be answered. */
export function promptText(question: string): string {
  return `${user}${question}${assistant}`;
}

/** What the chat template makes of a question and its answer. */
export function exchangeText({ question, answer }: Exchange): string {
  return `${promptText(question)}${answer}${end}`;
}
