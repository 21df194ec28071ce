import { PairwiseError } from '@pairwise/errors';
import type { ChatFormat } from './chatFormat.ts';

export interface ModelfileParts {
  /** File name of the model, in the Modelfile's own folder. */
  gguf: string;
  /** How turns are written; 'plain text' for a model without a chat template; undefined for one that is not known. */
  chat: ChatFormat | 'plain text' | undefined;
  /** Text of the bos token where llama.cpp itself puts it before every prompt, so that the template must not. */
  bosAddedByModel?: string | undefined;
  /** Texts of the tokens that end a turn. */
  stops: readonly string[];
}

/**
 * An Ollama Modelfile: FROM, TEMPLATE (Go's template language) and a `PARAMETER stop` per end-of-turn token.
 * Without a known chat format TEMPLATE is left out, and Ollama looks at the chat template inside the GGUF file.
 * Throws `UNSUPPORTED_FORMAT` for texts that a Modelfile cannot hold.
 */
export function modelfile({ gguf, chat, bosAddedByModel = '', stops }: ModelfileParts): string {
  const lines = [`FROM ./${gguf}`];
  if (chat === undefined)
    lines.push("# No TEMPLATE: the model's chat template cannot be written in Go's template language.");
  else
    lines.push(`TEMPLATE ${quoted(chat === 'plain text' ? '{{ .Prompt }}' : ollamaTemplate(chat, bosAddedByModel))}`);
  lines.push(...stops.map((stop) => `PARAMETER stop ${quoted(stop)}`));
  return `${lines.join('\n')}\n`;
}

/**
 * A chat format as an Ollama template. Nothing is trimmed: every character outside of an action is the model's. An
 * assistant message at the end is left open, for the model to continue.
 */
export function ollamaTemplate(format: ChatFormat, bosAddedByModel: string): string {
  const { user, assistant } = format;
  const system = format.system?.place === 'own turn' ? format.system : undefined;
  const inUser = format.system?.place === 'first user turn' ? format.system : undefined;
  const begin = literal(withoutBos(format.begin, bosAddedByModel));
  const first = inUser
    ? `{{ if and $.System (eq $i 1) }}${literal(inUser.prefix)}{{ $.System }}${literal(inUser.suffix)}{{ end }}`
    : '';
  const systemTurn = system
    ? `if eq .Role "system" }}${literal(withoutBos(system.prefix, bosAddedByModel))}{{ .Content }}${literal(system.suffix)}{{ else `
    : '';
  return [
    begin === '' ? '' : system ? `{{ if not .System }}${begin}{{ end }}` : begin,
    '{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}',
    `{{ ${systemTurn}if eq .Role "user" }}${literal(user.prefix)}${first}{{ .Content }}${literal(user.suffix)}`,
    `{{ else if eq .Role "assistant" }}${literal(assistant.prefix)}{{ .Content }}`,
    assistant.suffix === '' ? '' : `{{ if not $last }}${literal(assistant.suffix)}{{ end }}`,
    '{{ end }}',
    format.generationPrompt === ''
      ? ''
      : `{{ if and $last (ne .Role "assistant") }}${literal(format.generationPrompt)}{{ end }}`,
    '{{ end }}',
  ].join('');
}

function withoutBos(text: string, bos: string): string {
  return text.startsWith(bos) ? text.slice(bos.length) : text;
}

/** Text as it is, save for what Go would take for an action. */
function literal(text: string): string {
  return text.replaceAll('{{', '{{ "{{" }}');
}

/** A Modelfile has no escapes: one line in quotes, or anything in three of them. */
function quoted(text: string): string {
  if (!/["\n\r]/.test(text)) return `"${text}"`;
  if (text.includes('"""') || text.endsWith('"')) {
    throw new PairwiseError('UNSUPPORTED_FORMAT', `a Modelfile cannot hold the text ${JSON.stringify(text)}`);
  }
  return `"""${text}"""`;
}
