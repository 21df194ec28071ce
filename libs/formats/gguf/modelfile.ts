import { PairwiseError } from '@pairwise/errors';
import type { ChatFormat } from './chatFormat.ts';

export interface ModelfileParts {
  /** The file name of the model, in the same folder as the Modelfile. */
  gguf: string;
  /** The file name of an adapter that is loaded over the model, in the same folder. */
  adapter?: string | undefined;
  /** 'plain text' for a model without a chat template; undefined if its template has no such format. */
  chat: ChatFormat | 'plain text' | undefined;
  /** The text of the bos token if llama.cpp puts it before every prompt, so that the template must not. */
  bosAddedByModel?: string | undefined;
  /** Texts of the tokens that end a turn. */
  stops: readonly string[];
}

/**
 * An Ollama Modelfile: FROM, ADAPTER, TEMPLATE (Go's template language) and a `PARAMETER stop` per end-of-turn token.
 * Without a known chat format TEMPLATE is left out, and Ollama uses the chat template in the GGUF file.
 * Throws `UNSUPPORTED_FORMAT` for a text that a Modelfile cannot contain.
 */
export function modelfile({ gguf, adapter, chat, bosAddedByModel = '', stops }: ModelfileParts): string {
  const lines = [`FROM ./${gguf}`];
  if (adapter !== undefined) lines.push(`ADAPTER ./${adapter}`);
  if (chat === undefined)
    lines.push("# No TEMPLATE: the model's chat template cannot be expressed in Go's template language.");
  else
    lines.push(`TEMPLATE ${quoted(chat === 'plain text' ? '{{ .Prompt }}' : ollamaTemplate(chat, bosAddedByModel))}`);
  lines.push(...stops.map((stop) => `PARAMETER stop ${quoted(stop)}`));
  return `${lines.join('\n')}\n`;
}

/**
 * A chat format as an Ollama template. Nothing is trimmed, so every character outside an action is part of the prompt. An
 * assistant message at the end is left open for the model to continue.
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

/** Escapes what Go would read as an action. */
function literal(text: string): string {
  return text.replaceAll('{{', '{{ "{{" }}');
}

/** A Modelfile has no escapes: quotes hold one line, triple quotes hold any text without triple quotes. */
function quoted(text: string): string {
  if (!/["\n\r]/.test(text)) return `"${text}"`;
  if (text.includes('"""') || text.endsWith('"')) {
    throw new PairwiseError('UNSUPPORTED_FORMAT', `a Modelfile cannot contain the text ${JSON.stringify(text)}`);
  }
  return `"""${text}"""`;
}
